//! Where swarm and media meet: what the player needs becomes demands, blocks become segments.

use super::Door;
use super::store::Store;
use super::viewer::Keys;
use crate::bridge::{self, HOT_SEGMENT, Problem, ProblemCode, StreamNumber, ToPage};
use crate::door;
use baton_content::{BlockIndex, Entry, Mask, PieceId};
use baton_media::{Media, Output, Reason, Support, TrackId};
use baton_swarm::{Demand, Input, Instant};
use bytes::Bytes;
use js_sys::Array;
use std::collections::BTreeMap;

/// A film being played.
pub struct Film {
    number: StreamNumber,
    door: Door,
    media: Media,
    /// What the player waits for and is not here.
    missing: BTreeMap<PieceId, Mask>,
    /// Something changed: ask the media engine again.
    stale: bool,
    over: bool,
}

impl Film {
    /// Begins at the beginning.
    pub fn new(number: StreamNumber, door: Door, entry: &Entry, mp3_in_mp4: bool) -> Film {
        let media = Media::new(entry.size, Some(&entry.path), Support { mp3_in_mp4 });
        Film {
            number,
            door,
            media,
            missing: BTreeMap::new(),
            stale: true,
            over: false,
        }
    }

    /// The person jumped.
    pub fn seek(&mut self, to_s: f64) {
        self.media.seek(micros(to_s));
        self.stale = true;
    }

    /// Which tracks the browser takes.
    pub fn select(&mut self, tracks: &[u32]) {
        self.media
            .select(&tracks.iter().map(|t| TrackId(*t)).collect::<Vec<_>>());
        self.stale = true;
    }

    /// Where the viewer is, and until when to produce.
    pub fn playhead(&mut self, at_s: f64, until_s: f64) {
        self.media.set_playhead(micros(at_s), micros(until_s));
        self.stale = true;
    }

    /// A block came: worth a look if the player waits for it.
    pub fn arrived(&mut self, piece: PieceId, block: BlockIndex) {
        self.stale |= self
            .missing
            .get(&piece)
            .is_some_and(|mask| mask.contains(block));
    }

    /// Gives the media engine everything that it wants and that is here; what is not becomes the swarm's demands.
    pub fn pump(
        &mut self,
        now: Instant,
        entry: &Entry,
        store: &Store,
        keys: &mut Keys,
    ) -> Vec<Input> {
        if !self.stale || self.over {
            return Vec::new();
        }
        self.stale = false;
        let mut wanted = Vec::new();
        loop {
            let demands = self.media.demands();
            let mut fed = false;
            wanted.clear();
            for demand in &demands {
                let deadline = Instant(now.0 + demand.in_us);
                for (piece, mask) in entry.blocks(demand.range.clone()) {
                    let have = store.have(piece).and(mask);
                    fed |= self.feed(entry, store, keys, piece, have);
                    let missing = mask.without(have);
                    if !missing.is_empty() {
                        wanted.push(Demand {
                            piece,
                            mask: missing,
                            deadline,
                        });
                    }
                }
            }
            self.drain();
            if !fed || self.over {
                break;
            }
        }
        self.missing.clear();
        for demand in &wanted {
            let mask = self.missing.entry(demand.piece).or_insert(Mask::EMPTY);
            *mask = mask.or(demand.mask);
        }
        vec![Input::Demanded(wanted)]
    }

    fn feed(
        &mut self,
        entry: &Entry,
        store: &Store,
        keys: &mut Keys,
        piece: PieceId,
        have: Mask,
    ) -> bool {
        let mut fed = false;
        for index in have.iter() {
            let Some(block) = store.get(piece, index) else {
                continue;
            };
            let (Some(offset), Some(bytes)) = (entry.block_offset(piece, index), keys.open(block))
            else {
                continue;
            };
            self.media.handle_bytes(offset, Bytes::from(bytes));
            fed = true;
        }
        fed
    }

    fn drain(&mut self) {
        while let Some(output) = self.media.poll_output() {
            match output {
                Output::Ready(info) => self.door.tell(&ToPage::Ready {
                    stream: self.number,
                    info: bridged(info),
                }),
                Output::Duration(duration_us) => {
                    self.door.tell(&ToPage::Duration {
                        stream: self.number,
                        duration_us,
                    });
                }
                Output::Init { track, bytes } => {
                    self.segment(track, self.media.generation(), &bytes)
                }
                Output::Segment {
                    track,
                    bytes,
                    generation,
                    ..
                } => self.segment(track, generation, &bytes),
                Output::EndOfTrack { track, generation } => {
                    self.door.tell(&ToPage::TrackEnded {
                        stream: self.number,
                        track: track.0,
                        generation,
                    });
                }
                Output::Unsupported { reason } => {
                    self.end(ProblemCode::UnsupportedMedia, why(reason).into())
                }
                Output::Failed(error) => self.end(ProblemCode::MediaBroken, error.to_string()),
            }
        }
    }

    fn segment(&self, track: TrackId, generation: u32, bytes: &[u8]) {
        let buffer = door::buffer(bytes);
        let message = [
            HOT_SEGMENT.into(),
            self.number.into(),
            track.0.into(),
            generation.into(),
            buffer.clone(),
        ];
        self.door.post(&message, &Array::of1(&buffer));
    }

    fn end(&mut self, code: ProblemCode, detail: String) {
        self.over = true;
        let problem = Some(Problem {
            code,
            detail: Some(detail),
        });
        self.door.tell(&ToPage::Problem {
            stream: self.number,
            problem,
        });
    }
}

fn bridged(info: baton_media::Info) -> bridge::Info {
    let track = |t: baton_media::Track| bridge::Track {
        id: t.id.0,
        kind: match t.kind {
            baton_media::Kind::Video => bridge::TrackKind::Video,
            baton_media::Kind::Audio => bridge::TrackKind::Audio,
            baton_media::Kind::Text => bridge::TrackKind::Text,
        },
        mime: t.mime,
        codec: t.codec,
    };
    bridge::Info {
        tracks: info.tracks.into_iter().map(track).collect(),
        duration_us: info.duration_us,
    }
}

fn micros(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1e6) as u64
}

/// For experts, beside the sentence that a person reads.
fn why(reason: Reason) -> &'static str {
    match reason {
        Reason::NotMedia => "unknown container",
        Reason::NoPlayableTrack => "unknown codecs",
        Reason::Encrypted => "encrypted",
    }
}
