//! What a stream is: links, keys, heads, piece headers, sealing and verification. Pure.
