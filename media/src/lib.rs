//! Any container in, MediaSource-ready segments out, without IO.
