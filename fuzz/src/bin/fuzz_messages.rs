#![no_main]

use baton_signal_protocol::{ClientMessage, ServerMessage};

// What is read is written so that it is read the same again.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(message) = ClientMessage::decode(data) {
        assert_eq!(ClientMessage::decode(&message.encode()), Ok(message));
    }
    if let Ok(message) = ServerMessage::decode(data) {
        assert_eq!(ServerMessage::decode(&message.encode()), Ok(message));
    }
});
