//! What the test runners say, as numbers.

use anyhow::{Context, Result};
use std::path::Path;

/// Tests that passed and failed.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Totals {
    pub passed: u64,
    pub failed: u64,
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl Totals {
    pub const PASSED: Self = Self {
        passed: 1,
        failed: 0,
    };
    pub const FAILED: Self = Self {
        passed: 0,
        failed: 1,
    };

    /// A runner that failed without naming a failed test (it did not compile, it crashed) is one failure.
    pub fn judged(mut self, success: bool) -> Self {
        if !success && self.failed == 0 {
            self.failed = 1;
        }
        self
    }

    /// `test result: ok. 12 passed; 0 failed; 1 ignored; …`, once per test program of cargo.
    pub fn of_cargo(output: &str) -> Self {
        let lines = output.lines().filter(|line| line.contains("test result:"));
        lines.fold(Self::default(), |mut totals, line| {
            totals += Self {
                passed: before(line, "passed"),
                failed: before(line, "failed"),
            };
            totals
        })
    }

    /// `# pass 12` or `ℹ pass 12`, and the same with fail, at the end of node's test runner.
    pub fn of_node(output: &str) -> Self {
        let count = |word: &str| {
            let lines = output
                .lines()
                .filter_map(|line| line.trim_start_matches(['#', 'ℹ', ' ']).strip_prefix(word));
            lines
                .filter_map(|rest| rest.trim().parse::<u64>().ok())
                .next_back()
                .unwrap_or(0)
        };
        Self {
            passed: count("pass "),
            failed: count("fail "),
        }
    }

    /// `Tests  1 failed | 11 passed (12)` at the end of vitest.
    pub fn of_vitest(output: &str) -> Self {
        let line = output
            .lines()
            .rfind(|line| line.trim_start().starts_with("Tests "))
            .unwrap_or_default();
        Self {
            passed: before(line, "passed"),
            failed: before(line, "failed"),
        }
    }

    /// The `stats` of Playwright's JSON report.
    pub fn of_playwright(report: &Path) -> Result<Self> {
        let text = std::fs::read(report).with_context(|| report.display().to_string())?;
        let report: serde_json::Value = serde_json::from_slice(&text)?;
        let count = |name: &str| report["stats"][name].as_u64().unwrap_or(0);
        Ok(Self {
            passed: count("expected"),
            failed: count("unexpected") + count("flaky"),
        })
    }
}

/// The number right before a word.
fn before(line: &str, word: &str) -> u64 {
    let words: Vec<&str> = line
        .split([' ', ';', ',', '|'])
        .filter(|word| !word.is_empty())
        .collect();
    let found = words.windows(2).find(|pair| pair[1] == word);
    found.and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(passed: u64, failed: u64) -> Totals {
        Totals { passed, failed }
    }

    #[test]
    fn cargo_is_added_up_over_its_programs() {
        let output = "running 2 tests\ntest result: ok. 2 passed; 0 failed; 0 ignored\n\
                      test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured";
        assert_eq!(Totals::of_cargo(output), totals(5, 1));
    }

    #[test]
    fn node_is_read_in_both_of_its_formats() {
        assert_eq!(
            Totals::of_node("# tests 3\n# pass 2\n# fail 1\n"),
            totals(2, 1)
        );
        assert_eq!(
            Totals::of_node("✔ pass 9 balls\nℹ tests 3\nℹ pass 3\nℹ fail 0\n"),
            totals(3, 0)
        );
    }

    #[test]
    fn vitest_is_read_with_and_without_failures() {
        assert_eq!(
            Totals::of_vitest(" Test Files  1 passed (1)\n      Tests  12 passed (12)\n"),
            totals(12, 0)
        );
        assert_eq!(
            Totals::of_vitest("      Tests  1 failed | 11 passed (12)\n"),
            totals(11, 1)
        );
    }

    #[test]
    fn a_runner_that_dies_without_a_count_is_one_failure() {
        assert_eq!(Totals::default().judged(false), totals(0, 1));
        assert_eq!(totals(5, 2).judged(false), totals(5, 2));
        assert_eq!(totals(5, 0).judged(true), totals(5, 0));
    }
}
