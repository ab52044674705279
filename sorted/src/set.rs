//! A set as a sorted list.

use alloc::vec::{self, Vec};
use core::slice;

/// Values in their order, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortedSet<T> {
    list: Vec<T>,
}

impl<T> Default for SortedSet<T> {
    fn default() -> Self {
        SortedSet::new()
    }
}

impl<T> SortedSet<T> {
    pub const fn new() -> Self {
        SortedSet { list: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn iter(&self) -> slice::Iter<'_, T> {
        self.list.iter()
    }

    /// The least.
    pub fn first(&self) -> Option<&T> {
        self.list.first()
    }

    pub fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.list.retain(keep);
    }
}

impl<T: Ord> SortedSet<T> {
    pub fn contains(&self, value: &T) -> bool {
        self.list.binary_search(value).is_ok()
    }

    /// Whether it was not there before.
    pub fn insert(&mut self, value: T) -> bool {
        match self.list.binary_search(&value) {
            Ok(_) => false,
            Err(at) => {
                self.list.insert(at, value);
                true
            }
        }
    }

    /// Whether it was there.
    pub fn remove(&mut self, value: &T) -> bool {
        let place = self.list.binary_search(value);
        if let Ok(at) = place {
            self.list.remove(at);
        }
        place.is_ok()
    }
}

impl<'a, T> IntoIterator for &'a SortedSet<T> {
    type Item = &'a T;
    type IntoIter = slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

impl<T> IntoIterator for SortedSet<T> {
    type Item = T;
    type IntoIter = vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl<T: Ord> Extend<T> for SortedSet<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        for value in items {
            self.insert(value);
        }
    }
}

impl<T: Ord> FromIterator<T> for SortedSet<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut set = SortedSet::new();
        set.extend(items);
        set
    }
}
