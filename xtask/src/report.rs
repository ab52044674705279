//! What the test runners say, as numbers.

/// Tests that passed and failed, added up over stages.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Totals {
    pub passed: u32,
    pub failed: u32,
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl Totals {
    pub const PASSED: Self = Self { passed: 1, failed: 0 };
    pub const FAILED: Self = Self { passed: 0, failed: 1 };
}
