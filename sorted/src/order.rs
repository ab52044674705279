//! Sorting, compiled once for all kinds of things.

use alloc::vec::Vec;

/// Sorts by a key of two numbers; what has equal keys stays in its order.
///
/// Keys and places are sorted, then the things moved: std's sorts are 3 to 6 KB of WebAssembly for each type that they meet.
pub fn sort_by_key<T>(list: &mut Vec<T>, mut key: impl FnMut(&T) -> (u64, u64)) {
    let keys = list.iter().map(&mut key).enumerate();
    let order = places(
        keys.map(|(at, (major, minor))| (major, minor, at))
            .collect(),
    );
    let mut old: Vec<Option<T>> = core::mem::take(list).into_iter().map(Some).collect();
    list.extend(order.into_iter().filter_map(|(_, _, at)| old[at].take()));
}

/// Sorts in place, in a time that no order of theirs makes long: a heap sort, a tenth of std's sort in WebAssembly.
pub fn sort<T: Ord>(list: &mut [T]) {
    let mut end = list.len();
    let mut root = end / 2;
    while end > 1 {
        if root > 0 {
            root -= 1;
        } else {
            end -= 1;
            list.swap(0, end);
        }
        let mut parent = root;
        while let Some(mut child) = Some(2 * parent + 1).filter(|child| *child < end) {
            if child + 1 < end && list[child] < list[child + 1] {
                child += 1;
            }
            if list[parent] >= list[child] {
                break;
            }
            list.swap(parent, child);
            parent = child;
        }
    }
}

#[inline(never)]
fn places(mut keys: Vec<(u64, u64, usize)>) -> Vec<(u64, u64, usize)> {
    keys.sort_unstable();
    keys
}
