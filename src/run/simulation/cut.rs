//! A state of which the newest part is missing: an older checkpoint, or a refusal.

use super::*;

/// Goal: files cut short or lost at the end never give a wrong state: an older checkpoint as it
/// was, or a refusal where what it rests on has been cleaned away. Method: a life on a disk that is
/// well, until segments have been cleaned away; then the newest segments go, one after the other,
/// each also cut in halves, and each start is held against what was at the epoch it finds.
#[test]
fn an_older_checkpoint_is_whole_or_refused() {
    let outside = Outside::new(77, Order::Right);
    let mut random = Random(77);
    let (mut it, _) = outside.start(0, &mut random, 0).expect("starts");
    let mut epochs = 0;
    while !it.checkpoints.has_cleaned() || epochs < 400 {
        it.epoch(random.below(30), &outside.history);
        it.checkpoints.make().expect("the disk is well");
        epochs += 1;
        assert!(epochs < 20_000, "nothing was ever cleaned away");
    }
    drop(it);
    let state = outside.dir.join(store::STATE_DIR);
    let segments = || {
        let all = std::fs::read_dir(&state).unwrap().map(|it| it.unwrap().path());
        let mut all: Vec<_> =
            all.filter(|it| it.extension().is_some_and(|it| it == "seg")).collect();
        all.sort();
        all
    };
    let (mut older, mut refused) = (0, 0);
    while let Some(last) = segments().pop() {
        let bytes = std::fs::read(&last).unwrap();
        for len in [bytes.len() / 2, bytes.len() / 4, 0] {
            match len {
                0 => std::fs::remove_file(&last).unwrap(),
                _ => std::fs::write(&last, &bytes[..len]).unwrap(),
            }
            match found(&outside) {
                Ok(Some((epoch, states))) => {
                    assert_eq!(states, outside.history.lock()[&epoch].0, "states at {epoch}");
                    older += 1;
                }
                Ok(None) => assert!(segments().len() <= 1, "all of it is gone"),
                Err(code) => {
                    assert_eq!(code, "store/incomplete");
                    refused += 1;
                }
            }
        }
    }
    assert!(older > 0 && refused > 0, "{older} older ones, {refused} refused");
}

/// What a start finds, or the code of its refusal.
fn found(outside: &Outside) -> Result<Option<(Epoch, Touches)>, &'static str> {
    let settings = config::State {
        interval: Duration::ZERO,
        max_interval: Duration::ZERO,
        segment_bytes: 4_096,
        on_damage: config::StateOnDamage::Refuse,
    };
    let (mut store, _) = Store::open(&outside.dir, &settings, 1).map_err(|it| it.code)?;
    let plain = Arc::new(Plain::new(&PLAIN));
    let keepers: Vec<Arc<dyn StateKeeper>> = vec![plain.clone()];
    let restored = store.load(&keepers, &|_, _| {}, 0, 1, &[]).map_err(|it| it.code)?;
    Ok(restored.map(|it| (it.epoch, plain.at(it.epoch))))
}
