//! Against std's B-trees.

use baton_sorted::{SortedMap, SortedSet, sort, sort_by_key};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
enum Step {
    Insert(u8, u16),
    Remove(u8),
    Change(u8, u16),
    Entry(u8, u16),
    Retain(u8),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any::<u8>(), any::<u16>()).prop_map(|(key, value)| Step::Insert(key, value)),
        3 => any::<u8>().prop_map(Step::Remove),
        2 => (any::<u8>(), any::<u16>()).prop_map(|(key, value)| Step::Change(key, value)),
        3 => (any::<u8>(), any::<u16>()).prop_map(|(key, value)| Step::Entry(key, value)),
        1 => (1..8u8).prop_map(Step::Retain),
        1 => Just(Step::Clear),
    ]
}

fn apply(step: Step, ours: &mut SortedMap<u8, u16>, naive: &mut BTreeMap<u8, u16>) {
    match step {
        Step::Insert(key, value) => {
            assert_eq!(ours.insert(key, value), naive.insert(key, value))
        }
        Step::Remove(key) => assert_eq!(ours.remove(&key), naive.remove(&key)),
        Step::Change(key, value) => {
            let (a, b) = (ours.get_mut(&key), naive.get_mut(&key));
            assert_eq!(a, b);
            a.into_iter().chain(b).for_each(|old| *old = value);
        }
        Step::Entry(key, value) => {
            *ours.entry(key).or_insert(value) ^= 1;
            *naive.entry(key).or_insert(value) ^= 1;
        }
        Step::Retain(n) => {
            let keep = |key: &u8, value: &mut u16| {
                *value = value.wrapping_add(1);
                !key.is_multiple_of(n)
            };
            ours.retain(keep);
            naive.retain(keep);
        }
        Step::Clear => {
            ours.clear();
            naive.clear();
        }
    }
}

proptest! {
    #[test]
    fn a_map_is_as_stds(steps in proptest::collection::vec(step(), 0..200), from: u8, to: u8) {
        let (mut ours, mut naive) = (SortedMap::new(), BTreeMap::new());
        for step in steps {
            apply(step, &mut ours, &mut naive);
            prop_assert!(ours.iter().eq(naive.iter()));
        }
        prop_assert_eq!(ours.len(), naive.len());
        prop_assert_eq!(ours.first_key_value(), naive.first_key_value());
        prop_assert_eq!(ours.last_key_value(), naive.last_key_value());
        prop_assert!(ours.keys().eq(naive.keys()) && ours.values().rev().eq(naive.values().rev()));
        prop_assert!(ours.iter_mut().eq(naive.iter_mut()) && ours.values_mut().eq(naive.values_mut()));
        for key in 0..=255 {
            prop_assert_eq!(ours.get(&key), naive.get(&key));
            prop_assert_eq!(ours.contains_key(&key), naive.contains_key(&key));
        }
        let (from, to) = (from.min(to), from.max(to));
        prop_assert!(ours.range(from..).eq(naive.range(from..)));
        prop_assert!(ours.range(..=to).rev().eq(naive.range(..=to).rev()));
        prop_assert!(ours.range(from..to).eq(naive.range(from..to)));
        prop_assert!(ours.clone().into_values().eq(naive.clone().into_values()));
        prop_assert!(ours.into_iter().eq(naive));
    }

    #[test]
    fn a_set_is_as_stds(values: Vec<u8>, removed: Vec<u8>) {
        let mut ours: SortedSet<u8> = values.iter().copied().collect();
        let mut naive: BTreeSet<u8> = values.iter().copied().collect();
        for value in &removed {
            prop_assert_eq!(ours.contains(value), naive.contains(value));
            prop_assert_eq!(ours.remove(value), naive.remove(value));
            prop_assert_eq!(ours.insert(value / 2), naive.insert(value / 2));
        }
        ours.retain(|value| value % 3 != 0);
        naive.retain(|value| value % 3 != 0);
        prop_assert_eq!(ours.first(), naive.first());
        prop_assert_eq!((ours.len(), ours.is_empty()), (naive.len(), naive.is_empty()));
        prop_assert!(ours.iter().eq(&naive) && ours.into_iter().eq(naive));
    }

    #[test]
    fn sorting_in_place_is_as_stds_sort(list: Vec<u8>) {
        let (mut ours, mut naive) = (list.clone(), list);
        sort(&mut ours);
        naive.sort();
        prop_assert_eq!(ours, naive);
    }

    #[test]
    fn sorting_is_as_stds_stable_sort(list: Vec<(u8, u8, u16)>) {
        let (mut ours, mut naive) = (list.clone(), list);
        sort_by_key(&mut ours, |it| (it.0.into(), it.1.into()));
        naive.sort_by_key(|it| (it.0, it.1));
        prop_assert_eq!(ours, naive);
    }
}

#[test]
fn a_range_that_ends_before_it_begins_is_empty() {
    let map: SortedMap<u8, u8> = (0..9).map(|n| (n, n)).collect();
    #[allow(clippy::reversed_empty_ranges)]
    let backwards = 5..2;
    assert_eq!(map.range(backwards).count(), 0);
}
