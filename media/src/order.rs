//! Pictures on their way out, in decode order: where a segment may end, and how long each is really shown.
//!
//! A segment must not end while a picture is missing that is shown between two of its own. Firefox 153 takes a picture to
//! last until the next one of its segment, so after a jump into such a hole it would show the one before. And each is to last
//! until the next is shown: Chromium 156 passes over those that are over before the place it jumped to, however late the next one is.

use crate::mux::OutSample;

/// Pictures that may come between two in decode order and be shown before the second: HEVC and H.264 encoders stay below
/// this by far (x264's pyramid needs two, x265's four).
const REORDER: usize = 4;

/// A beginning of the pictures at hand that is whole in display order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole {
    pub count: usize,
    /// When what follows is shown.
    pub end: u64,
}

/// What else is known of the pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// The film has pictures that are decoded after what is shown later.
    pub reorders: bool,
    /// None will follow.
    pub over: bool,
}

/// The longest one that is certain, if any.
#[inline(never)]
pub(crate) fn whole(pictures: &[OutSample], known: Known) -> Option<Whole> {
    let start = pictures.iter().map(|it| it.pts).min()?;
    let mut lasting: u64 = pictures.iter().map(|it| u64::from(it.duration)).sum();
    let mut latest = Vec::with_capacity(pictures.len());
    for picture in pictures {
        latest.push(picture.pts.max(latest.last().copied().unwrap_or(0)));
    }
    // Of those behind the place that is looked at.
    let mut next = u64::MAX;
    for count in (1..=pictures.len()).rev() {
        let (last, behind) = (latest[count - 1], pictures.len() - count);
        if last < next {
            if behind > REORDER {
                return Some(Whole { count, end: next });
            }
            let tail = pictures[..count].iter().find(|it| it.pts == last).map_or(1, |it| u64::from(it.duration).max(1));
            // Whether those before it, shown one after the other for as long as decode times say, come out where the last one ends.
            let end = start + lasting;
            let near = |a: u64, b: u64| 8 * a.abs_diff(b) <= tail;
            let alone = known.reorders && behind == 0 && count == 1;
            if end > last && near(end, last + tail) && (behind == 0 || near(end, next)) && !alone {
                return Some(Whole { count, end: if behind == 0 { end } else { next } });
            }
            if known.over && behind == 0 {
                return Some(Whole { count, end: last + tail });
            }
        }
        next = next.min(pictures[count - 1].pts);
        lasting -= u64::from(pictures[count - 1].duration);
    }
    None
}

/// Lets each picture last until the next one is shown, the last one until `end`.
pub(crate) fn last_until_next(pictures: &mut [OutSample], end: u64) {
    // Some dozen: looking through all of them costs less than sorting, in WASM too.
    for at in 0..pictures.len() {
        let shown = pictures[at].pts;
        let later = pictures.iter().map(|it| it.pts).filter(|it| *it > shown).min();
        let next = later.unwrap_or(end.max(shown + 1));
        pictures[at].duration = u32::try_from(next - shown).unwrap_or(u32::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    /// Decode order, with what decode times say that each lasts.
    fn pictures(of: &[(u64, u32)]) -> Vec<OutSample> {
        let picture =
            |&(pts, duration): &(u64, u32)| OutSample { dts: 0, pts, duration, sync: false, data: Bytes::new() };
        of.iter().map(picture).collect()
    }

    fn even(times: &[u64]) -> Vec<OutSample> {
        pictures(&times.iter().map(|at| (*at, 40)).collect::<Vec<_>>())
    }

    const GOING_ON: Known = Known { reorders: true, over: false };
    const OVER: Known = Known { reorders: true, over: true };

    #[test]
    fn a_segment_does_not_end_before_a_hole_is_filled() {
        assert_eq!(whole(&even(&[0, 160, 80]), GOING_ON), None);
        assert_eq!(whole(&even(&[0, 160, 80, 40]), GOING_ON), Some(Whole { count: 1, end: 40 }));
        assert_eq!(whole(&even(&[0, 160, 80, 40, 120]), GOING_ON), Some(Whole { count: 5, end: 200 }));
        assert_eq!(whole(&even(&[160, 80, 40]), GOING_ON), None);
        assert_eq!(whole(&[], OVER), None);
    }

    #[test]
    fn without_reordering_each_picture_is_whole() {
        let known = Known { reorders: false, over: false };
        assert_eq!(whole(&even(&[40]), known), Some(Whole { count: 1, end: 80 }));
        assert_eq!(whole(&pictures(&[(0, 1000), (1000, 40), (1040, 500)]), known), Some(Whole { count: 3, end: 1540 }));
    }

    #[test]
    fn leading_pictures_of_an_open_group_are_waited_for() {
        // The key frame at 200 comes before what is shown at 120 and 160.
        assert_eq!(whole(&even(&[80, 40, 200]), GOING_ON), None);
        assert_eq!(whole(&even(&[80, 40, 200, 120]), GOING_ON), Some(Whole { count: 2, end: 120 }));
        assert_eq!(whole(&even(&[80, 40, 200, 120, 160]), GOING_ON), Some(Whole { count: 5, end: 240 }));
    }

    #[test]
    fn pictures_at_uneven_times_need_some_of_what_follows() {
        // Decode times of MP4: those of the pictures before, so what is at hand never adds up.
        let uneven =
            [(0, 40), (2000, 960), (1000, 1000), (2040, 40), (5000, 2960), (3000, 40), (9000, 1960), (7000, 2000)];
        assert_eq!(whole(&pictures(&uneven[..5]), GOING_ON), None);
        assert_eq!(whole(&pictures(&uneven[..6]), GOING_ON), Some(Whole { count: 1, end: 1000 }));
        assert_eq!(whole(&pictures(&uneven), GOING_ON), Some(Whole { count: 3, end: 2040 }));
        assert_eq!(whole(&pictures(&uneven), OVER), Some(Whole { count: 8, end: 10_960 }));
    }

    #[test]
    fn each_lasts_until_the_next_is_shown() {
        let mut list = pictures(&[(0, 40), (2000, 960), (1000, 1000)]);
        last_until_next(&mut list, 2040);
        assert_eq!(list.iter().map(|it| it.duration).collect::<Vec<_>>(), [1000, 40, 1000]);
    }
}
