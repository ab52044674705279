#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| baton_media::fuzz::tags(data));
