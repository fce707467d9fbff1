//! Goal: what brings a case forward is what the module docs say. Method: small tables.

use super::*;

#[test]
fn three_within_a_week_are_too_many() {
    let found = |days: &[(i64, isize)]| crowded(days);
    assert_eq!(found(&[(0, 2)]), []);
    assert_eq!(found(&[(0, 3)]), [(0, 0)]);
    assert_eq!(found(&[(0, 1), (3, 1), (6, 1)]), [(0, 6)]);
    assert_eq!(found(&[(0, 1), (3, 1), (7, 1)]), []);
    assert_eq!(found(&[(0, 1), (6, 2), (12, 1), (40, 3)]), [(0, 12), (40, 40)]);
}

#[test]
fn the_line_that_says_most_stands() {
    let line = |tier: Option<&str>, band: Option<&str>, minutes: i64| Sla {
        tier: tier.map(CompactString::from),
        band: band.map(CompactString::from),
        times: [minutes * 60_000_000; 4],
    };
    let sla = vec![
        line(None, None, 1),
        line(None, Some("falling"), 2),
        line(Some("gold"), None, 3),
        line(Some("gold"), Some("falling"), 4),
    ];
    let terms = Terms { sla, tiers: vec![], ..Terms::default() };
    let minutes = |tier: Option<&str>, band: Option<&str>| {
        let person = Person {
            tier: tier.map(CompactString::from),
            band: band.map(CompactString::from),
            ..Person::default()
        };
        terms.bring(2, 0, &person).due_at / 60_000_000
    };
    let (gold, falling) = (Some("gold"), Some("falling"));
    let found =
        [(None, None), (None, falling), (gold, None), (gold, falling), (Some("tin"), falling)];
    assert_eq!(found.map(|(tier, band)| minutes(tier, band)), [1, 2, 3, 4, 2]);
}

#[test]
fn each_reason_takes_its_share_of_what_is_left() {
    let person = Person {
        tier: Some("gold".into()),
        band: Some("falling".into()),
        fell_from: Some("good".into()),
        is_late: true,
        crowded: vec![(0, 3)],
    };
    let found = Terms::default().bring(1, 0, &person);
    let minutes = |it: i64| it as f64 / 6e7;
    assert_eq!((minutes(found.due_at), minutes(found.soon_at)), (15.0, 11.25));
    assert_eq!(minutes(found.deadline), 15.0 * 0.5 * 0.75 * 0.75 * 0.75);
    assert_eq!((found.class.as_str(), found.reasons.len()), ("P1/gold/falling", 4));
    assert_eq!(found.reasons[1], "health fell from good to falling: 75 % of its time");
    let nobody = Terms::default().bring(1, 0, &Person::default());
    assert_eq!((nobody.deadline, nobody.reasons.len()), (nobody.due_at, 0));
}
