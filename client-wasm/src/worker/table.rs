//! Things by piece, in order: a sorted list, because every further B-tree costs the page several kilobytes to load.

use baton_content::PieceId;

/// Values by piece.
pub struct Table<V>(Vec<(PieceId, Box<V>)>);

impl<V> Table<V> {
    pub const fn new() -> Table<V> {
        Table(Vec::new())
    }

    pub fn get(&self, piece: PieceId) -> Option<&V> {
        self.find(piece).ok().map(|at| &*self.0[at].1)
    }

    pub fn get_mut(&mut self, piece: PieceId) -> Option<&mut V> {
        self.find(piece).ok().map(|at| &mut *self.0[at].1)
    }

    /// The value of a piece, made if there is none.
    pub fn get_or(&mut self, piece: PieceId, make: impl FnOnce() -> V) -> &mut V {
        let at = match self.find(piece) {
            Ok(at) => at,
            Err(at) => {
                self.0.insert(at, (piece, Box::new(make())));
                at
            }
        };
        &mut self.0[at].1
    }

    pub fn remove(&mut self, piece: PieceId) -> Option<Box<V>> {
        let at = self.find(piece).ok()?;
        Some(self.0.remove(at).1)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (PieceId, &V)> {
        self.0.iter().map(|(piece, value)| (*piece, &**value))
    }

    /// The first piece after this one.
    pub fn after(&self, piece: Option<PieceId>) -> Option<PieceId> {
        let at = piece.map_or(0, |piece| {
            self.find(piece).map_or_else(|at| at, |at| at + 1)
        });
        self.0.get(at).map(|(piece, _)| *piece)
    }

    fn find(&self, piece: PieceId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&piece, |(piece, _)| *piece)
    }
}
