use super::*;

/// Goal: each decision of the module doc, on the smallest text that shows it. Method: `skip` and
/// `finish`, which is what everything unknown goes through.
#[test]
fn decisions() {
    let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
    let check = |text: &[u8], expected: Result<(), FaultKind>| {
        let read = Scanner::new(text).and_then(|mut it| {
            it.skip()?;
            it.finish()
        });
        assert_eq!(read.map_err(|it| it.kind), expected, "{}", String::from_utf8_lossy(text));
    };
    let expected = |what| Err(FaultKind::Expected(what));
    check(br#" {"a":{"b":[1,-0.5e+3,true,false,null,"\u00e9\ud83d\ude00"]}} "#, Ok(()));
    check(br#"{"a":1,"b":2,"a":3}"#, Ok(()));
    check(b"\"\xff\"", Err(FaultKind::NotUtf8));
    check(b"\xef\xbb\xbf{}", Err(FaultKind::ByteOrderMark));
    check(br#""\ud800""#, Err(FaultKind::LoneSurrogate));
    check(br#""\ud800\n""#, Err(FaultKind::LoneSurrogate));
    check(br#""\ud800\u0041""#, Err(FaultKind::LoneSurrogate));
    check(br#""\udc00""#, Err(FaultKind::LoneSurrogate));
    check(b"\"a\tb\"", Err(FaultKind::ControlCharacter));
    check(deep(64).as_bytes(), Ok(()));
    check(deep(65).as_bytes(), Err(FaultKind::TooDeep));
    check(&[b'['; 100_000], Err(FaultKind::TooDeep));
    check(b"1 2", Err(FaultKind::TrailingBytes));
    check(b"{}\0", Err(FaultKind::TrailingBytes));
    check(b"1e999999", Ok(()));
    check(b"", Err(FaultKind::Ended("a value")));
    check(b"{\"a\":", Err(FaultKind::Ended("a value")));
    check(b"\"abc", Err(FaultKind::Ended("the end of a string")));
    check(b"{\"a\":1,}", expected("a key in quotes"));
    check(b"[1,]", expected("a value"));
    check(b"NaN", expected("a value"));
    check(b"nul", expected("a value"));
    check(b"not json", expected("a value"));
    check(b"01", Err(FaultKind::TrailingBytes));
    check(b"1.", Err(FaultKind::Ended("a digit")));
    check(br#""\x""#, expected("an escape of JSON"));
    check(br#""\u12g4""#, expected("four hexadecimal digits"));
}

fn read_object(text: &str) -> Result<usize, Fault> {
    let mut count = 0;
    Scanner::over(text).object(|_, it| {
        count += 1;
        it.skip().map(drop)
    })?;
    Ok(count)
}

/// Goal: a key that comes twice in an object that is read is refused, escaped or not; one level
/// further down, where it is skipped, it is not.
#[test]
fn duplicate_keys() {
    let check = |text: &str, expected: Result<usize, FaultKind>| {
        assert_eq!(read_object(text).map_err(|it| it.kind), expected, "{text}");
    };
    check(r#"{"a":1,"b":2,"A":3}"#, Ok(3));
    check(r#"{"a":1,"b":2,"a":3}"#, Err(FaultKind::DuplicateKey));
    check(r#"{"a":1,"\u0061":3}"#, Err(FaultKind::DuplicateKey));
    check(r#"{"":1,"":3}"#, Err(FaultKind::DuplicateKey));
    check(r#"{"x":{"a":1,"a":3}}"#, Ok(1));
    check("{\"\u{e9}\":\"composed\",\"e\u{301}\":\"combined\"}", Ok(2));
}

/// Goal: integers come from their digits, and only what fits is one.
#[test]
fn integers() {
    let check = |text: &str, expected: Option<i64>| {
        let number = Scanner::over(text).number().unwrap();
        assert_eq!(number.text, text);
        assert_eq!(number.as_i64(), expected, "{text}");
    };
    check("0", Some(0));
    check("-1", Some(-1));
    check("999999999999999999", Some(999_999_999_999_999_999));
    check("-999999999999999999", Some(-999_999_999_999_999_999));
    check("9223372036854775807", Some(i64::MAX));
    check("-9223372036854775808", Some(i64::MIN));
    check("9223372036854775808", None);
    check("100000000000000000000", None);
    check("9007199254740993", Some(9_007_199_254_740_993));
    check("-0", None);
    check("1.0", None);
    check("1e3", None);
}

/// Goal: more keys than are kept in place, keys that share their mark, and where a duplicate is
/// told. Method: objects of n keys, then one of them again.
#[test]
fn many_keys() {
    for n in [1usize, 2, 15, 16, 17, 40, 2_000] {
        // The middle of a long key is not part of its mark: all of these share one.
        for form in ["k", "abcdefgh"] {
            let key = |i: usize| format!("\"{form}{i:05}ijklmnop\":{i}");
            let keys: Vec<String> = (0..n).map(key).collect();
            let good = format!("{{{}}}", keys.join(","));
            assert_eq!(read_object(&good), Ok(n));
            for again in [0, n / 2, n - 1] {
                let text = format!("{{{},{}}}", keys.join(","), key(again));
                let fault = read_object(&text).unwrap_err();
                assert_eq!(fault.kind, FaultKind::DuplicateKey);
                assert_eq!(fault.offset, text.rfind(&format!("\"{form}")).unwrap());
            }
        }
    }
}

/// Goal: the end of a run is found at every place within a word, and text comes back as written.
#[test]
fn strings_of_every_length() {
    for n in 0..40 {
        for inner in ["", "\\n", "é", "\u{1}"] {
            for after in 0..10 {
                let (a, b) = ("x".repeat(n), "y".repeat(after));
                let text = format!("\"{a}{inner}{b}\"");
                let read = Scanner::over(&text).string();
                match inner {
                    "\u{1}" => assert_eq!(read.unwrap_err().offset, n + 1),
                    "\\n" => assert_eq!(read.unwrap(), format!("{a}\n{b}")),
                    _ => {
                        let read = read.unwrap();
                        assert_eq!(read, format!("{a}{inner}{b}"));
                        assert!(matches!(read, Cow::Borrowed(_)));
                    }
                }
            }
        }
    }
}
