//! A service in memory, which can list.

use std::time::Duration;

use pagefold_spill::{EXTENT_BYTES_MIN, Label, Owner, Spill};
use pagefold_spill_opendal::{
    CollectOptions, Fate, OpendalBacking, OpendalError, Options, collect, connect,
};

use crate::servers::Hand;

const DEAD: &str = "0123456789abcdef0123456789abcdef";
const OLD: &str = "1700000000 64 8";

#[test]
fn a_store_that_died_is_collected_and_one_that_lives_is_not() {
    // Below a prefix with slashes, and at the top of the service.
    for (prefix, top) in [("/page//fold/", "page/fold/"), ("", "")] {
        let hand = Hand::new(connect("memory://").expect("always there"));
        let backing = OpendalBacking::new(hand.operator.clone(), prefix, Options::default());
        let backing = backing.expect("memory");
        let home = backing.prefix().to_owned();
        assert!(home.starts_with(top) && home.len() == top.len() + 33, "{home}");
        let spill =
            Spill::builder(backing).extent_bytes(EXTENT_BYTES_MIN).build().expect("sensible");
        let mut batch = spill.batch().expect("memory");
        batch.push(Owner(0, 0), Label::NONE, &[7; 1000]).expect("room");
        let place = spill.write(&mut batch).expect("room").keep(0);
        assert_eq!(spill.read_object(place).expect("there").1, [7; 1000]);
        assert_eq!(hand.objects(&home).len(), 2, "an extent and a lease");

        hand.write(&format!("{top}{DEAD}/lease"), OLD);
        hand.write(&format!("{top}{DEAD}/slot-0"), "old");
        // What is no store's, whatever its name.
        let foreign = ["release", "lease", "0123/lease", "0123/slot-0", "other/dir/lease"];
        for name in foreign {
            hand.write(&format!("{top}{name}"), OLD);
        }
        let collect = |dry_run| {
            let options = CollectOptions::default().older_than(Duration::ZERO).dry_run(dry_run);
            collect(hand.operator.clone(), prefix, options).expect("it lists")
        };
        let before = hand.objects("").len();
        let found = collect(true);
        assert_eq!((found.alive(), found.removed(), found.stores.len()), (1, 0, 2));
        assert_eq!(hand.objects("").len(), before, "a dry run");
        let found = collect(false);
        assert_eq!((found.alive(), found.removed(), found.stores.len()), (1, 1, 2));
        let dead = found.stores.iter().find(|store| store.id == DEAD).expect("found");
        assert_eq!(dead.seen, Some(1_700_000_000));
        assert_eq!(spill.read_object(place).expect("there").1.len(), 1000);
        assert_eq!(hand.objects("").len(), 2 + foreign.len());
        drop(spill);
        assert_eq!(hand.objects("").len(), foreign.len());
    }
}

#[test]
fn a_store_whose_lease_is_lost_gets_one_and_time_to_renew_it() {
    let hand = Hand::new(connect("memory://").expect("always there"));
    let lease = format!("pagefold/{DEAD}/lease");
    for lost in [None, Some("nonsense")] {
        hand.write(&format!("pagefold/{DEAD}/slot-0"), "old");
        if let Some(text) = lost {
            hand.write(&lease, text);
        }
        let collect = || {
            collect(hand.operator.clone(), "pagefold", CollectOptions::default()).expect("it lists")
        };
        assert!(matches!(collect().stores[0].fate, Fate::Unsure));
        assert!(matches!(collect().stores[0].fate, Fate::Alive), "now it has one");
        let marked = hand.read(&lease).expect("a lease");
        assert!(marked.parse::<u64>().is_ok(), "{marked}");
        hand.write(&lease, "1700000000");
        assert_eq!(collect().removed(), 1);
        assert_eq!(hand.objects(""), [""; 0]);
    }
}

#[test]
fn a_prefix_that_leads_out_is_refused() {
    let operator = connect("memory://").expect("always there");
    for wrong in ["..", "a/../b", "./a"] {
        let refused = OpendalBacking::new(operator.clone(), wrong, Options::default());
        assert!(matches!(refused, Err(OpendalError::Prefix(_))), "{wrong}");
        let refused = collect(operator.clone(), wrong, CollectOptions::default());
        assert!(matches!(refused, Err(OpendalError::Prefix(_))), "{wrong}");
    }
}

#[test]
fn two_stores_share_a_prefix() {
    let hand = Hand::new(connect("memory://").expect("always there"));
    let new = || OpendalBacking::new(hand.operator.clone(), "p", Options::default());
    let (one, two) = (new().expect("memory"), new().expect("memory"));
    assert_ne!(one.prefix(), two.prefix());
    drop(one);
    assert_eq!(hand.objects(""), [format!("{}lease", two.prefix())]);
}
