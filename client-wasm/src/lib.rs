//! The browser's doors.
