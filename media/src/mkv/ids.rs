//! Matroska element ids (RFC 9559 §5, §27).

pub(crate) const EBML: u32 = 0x1a45_dfa3;
pub(crate) const DOC_TYPE: u32 = 0x4282;
pub(crate) const SEGMENT: u32 = 0x1853_8067;
pub(crate) const SEEK_HEAD: u32 = 0x114d_9b74;
pub(crate) const SEEK: u32 = 0x4dbb;
pub(crate) const SEEK_ID: u32 = 0x53ab;
pub(crate) const SEEK_POSITION: u32 = 0x53ac;
pub(crate) const INFO: u32 = 0x1549_a966;
pub(crate) const TIMESTAMP_SCALE: u32 = 0x2a_d7b1;
pub(crate) const DURATION: u32 = 0x4489;
pub(crate) const TITLE: u32 = 0x7ba9;
pub(crate) const TRACKS: u32 = 0x1654_ae6b;
pub(crate) const TRACK_ENTRY: u32 = 0xae;
pub(crate) const TRACK_NUMBER: u32 = 0xd7;
pub(crate) const TRACK_TYPE: u32 = 0x83;
pub(crate) const FLAG_DEFAULT: u32 = 0x88;
pub(crate) const FLAG_FORCED: u32 = 0x55aa;
pub(crate) const DEFAULT_DURATION: u32 = 0x23_e383;
pub(crate) const NAME: u32 = 0x536e;
pub(crate) const LANGUAGE: u32 = 0x22_b59c;
pub(crate) const LANGUAGE_BCP47: u32 = 0x22_b59d;
pub(crate) const CODEC_ID: u32 = 0x86;
pub(crate) const CODEC_PRIVATE: u32 = 0x63a2;
pub(crate) const CODEC_DELAY: u32 = 0x56aa;
pub(crate) const VIDEO: u32 = 0xe0;
pub(crate) const PIXEL_WIDTH: u32 = 0xb0;
pub(crate) const PIXEL_HEIGHT: u32 = 0xba;
pub(crate) const DISPLAY_WIDTH: u32 = 0x54b0;
pub(crate) const DISPLAY_HEIGHT: u32 = 0x54ba;
pub(crate) const DISPLAY_UNIT: u32 = 0x54b2;
pub(crate) const AUDIO: u32 = 0xe1;
pub(crate) const SAMPLING_FREQUENCY: u32 = 0xb5;
pub(crate) const OUTPUT_SAMPLING_FREQUENCY: u32 = 0x78b5;
pub(crate) const CHANNELS: u32 = 0x9f;
pub(crate) const BIT_DEPTH: u32 = 0x6264;
pub(crate) const CONTENT_ENCODINGS: u32 = 0x6d80;
pub(crate) const CONTENT_ENCODING: u32 = 0x6240;
pub(crate) const CONTENT_ENCODING_SCOPE: u32 = 0x5032;
pub(crate) const CONTENT_COMPRESSION: u32 = 0x5034;
pub(crate) const CONTENT_COMP_ALGO: u32 = 0x4254;
pub(crate) const CONTENT_COMP_SETTINGS: u32 = 0x4255;
pub(crate) const CONTENT_ENCRYPTION: u32 = 0x5035;
pub(crate) const CUES: u32 = 0x1c53_bb6b;
pub(crate) const CUE_POINT: u32 = 0xbb;
pub(crate) const CUE_TIME: u32 = 0xb3;
pub(crate) const CUE_TRACK_POSITIONS: u32 = 0xb7;
pub(crate) const CUE_TRACK: u32 = 0xf7;
pub(crate) const CUE_CLUSTER_POSITION: u32 = 0xf1;
pub(crate) const CLUSTER: u32 = 0x1f43_b675;
pub(crate) const TIMESTAMP: u32 = 0xe7;
pub(crate) const SIMPLE_BLOCK: u32 = 0xa3;
pub(crate) const BLOCK_GROUP: u32 = 0xa0;
pub(crate) const BLOCK: u32 = 0xa1;
pub(crate) const BLOCK_DURATION: u32 = 0x9b;
pub(crate) const REFERENCE_BLOCK: u32 = 0xfb;
pub(crate) const TAGS: u32 = 0x1254_c367;
pub(crate) const ATTACHMENTS: u32 = 0x1941_a469;
pub(crate) const CHAPTERS: u32 = 0x1043_a770;
pub(crate) const EDITION_ENTRY: u32 = 0x45b9;
pub(crate) const CHAPTER_ATOM: u32 = 0xb6;
pub(crate) const CHAPTER_TIME_START: u32 = 0x91;
pub(crate) const CHAPTER_FLAG_HIDDEN: u32 = 0x98;
pub(crate) const CHAPTER_DISPLAY: u32 = 0x80;
pub(crate) const CHAP_STRING: u32 = 0x85;

/// Elements directly below the segment: any of them ends a cluster of unknown size.
pub(crate) fn is_top(id: u32) -> bool {
    matches!(id, EBML | SEGMENT | SEEK_HEAD | INFO | TRACKS | CUES | CLUSTER | TAGS | ATTACHMENTS | CHAPTERS)
}
