//! What a telephone and a television say to each other: commands one way, how things stand the other way. postcard, sealed; appended only.
//!
//! A word that an end does not know is skipped.

use serde::{Deserialize, Serialize};

/// From the telephone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Command {
    /// The first word of a session: what this telephone calls itself.
    Greet {
        label: String,
    },
    /// Play this link from here on.
    Open {
        link: String,
        at_ms: u32,
    },
    /// Play this link after what plays now.
    Queue {
        link: String,
    },
    Play,
    Pause,
    Seek {
        at_ms: u32,
    },
    Volume {
        permille: u16,
        muted: bool,
    },
    Sound {
        id: u32,
    },
    Subtitles {
        id: Option<u32>,
    },
    /// What was queued.
    Next,
    /// Back to the beginning of everything: no film.
    Stop,
    /// What the television is called from now on.
    Name {
        name: String,
    },
    /// Forget this telephone.
    Forget,
    /// Say how things stand. Also shows that this telephone is still there.
    Look,
    /// Show what the film looks like around there; answered to whoever asks, always.
    Peek {
        at_ms: u32,
    },
}

/// From the television.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Report {
    State(State),
    Film(Film),
    /// What the television is called.
    Name {
        name: String,
    },
    /// This telephone is not known here any more.
    Forgotten,
    /// What was asked for by Peek: a JPEG of this place, empty where the television has none.
    Picture {
        at_ms: u32,
        #[serde(serialize_with = "crate::as_bytes")]
        jpeg: Vec<u8>,
    },
}

/// How things stand at the television.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// What is open; empty: nothing. So a telephone can go on with what another one began.
    pub link: String,
    pub title: String,
    pub phase: Phase,
    pub position_ms: u32,
    /// 0: not known.
    pub duration_ms: u32,
    pub volume_permille: u16,
    pub muted: bool,
    /// How many links wait.
    pub queued: u8,
    /// Why there is no picture, as the pages' problem codes; empty: no reason.
    pub problem: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    #[default]
    Idle,
    Loading,
    Playing,
    Paused,
    /// It plays, and has nothing to show.
    Waiting,
    Ended,
    Failed,
}

/// What the film is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Film {
    pub tracks: Vec<Track>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    pub id: u32,
    /// Else a sound track.
    pub subtitles: bool,
    /// As a person reads it.
    pub label: String,
    pub selected: bool,
}

impl Command {
    pub fn encode(&self) -> Option<Vec<u8>> {
        encode(self)
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let command = decode(bytes)?;
        match &command {
            Self::Open { link, .. } | Self::Queue { link } if link.len() > LINK_MAX => None,
            Self::Greet { label: name } | Self::Name { name } if name.len() > NAME_MAX => None,
            _ => Some(command),
        }
    }
}

impl Report {
    pub fn encode(&self) -> Option<Vec<u8>> {
        encode(self)
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        decode(bytes)
    }

    /// Cut to what fits into a blob: whoever calls has words of any length.
    pub fn cut(mut self) -> Self {
        match &mut self {
            Self::State(state) => {
                cut(&mut state.link, LINK_MAX);
                cut(&mut state.title, TITLE_MAX);
                cut(&mut state.problem, NAME_MAX);
            }
            Self::Film(film) => {
                film.tracks.truncate(TRACKS_MAX);
                film.tracks
                    .iter_mut()
                    .for_each(|it| cut(&mut it.label, NAME_MAX));
            }
            Self::Name { name } => cut(name, NAME_MAX),
            // Half a picture is none.
            Self::Picture { jpeg, .. } if jpeg.len() > JPEG_MAX => jpeg.clear(),
            Self::Forgotten | Self::Picture { .. } => {}
        }
        self
    }
}

/// Shortens a text to so many bytes, at a letter's end.
pub(crate) fn cut(text: &mut String, most: usize) {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

/// `None`: longer than a blob may be. With the limits below that cannot be.
fn encode(it: &impl Serialize) -> Option<Vec<u8>> {
    let bytes = postcard::to_allocvec(it).ok()?;
    (bytes.len() <= PLAIN_MAX).then_some(bytes)
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    postcard::take_from_bytes(bytes).ok().map(|(it, _)| it)
}

/// A sealed word is a kind, this and a tag, in a blob of 4,096 bytes.
pub const PLAIN_MAX: usize = 4000;
/// A link with some servers in it is 200 characters.
pub const LINK_MAX: usize = 1500;
pub const TITLE_MAX: usize = 300;
/// What people call televisions and telephones.
pub const NAME_MAX: usize = 60;
/// A JPEG of 160 × 90 at middling quality has 2 to 4 KB.
pub const JPEG_MAX: usize = 3900;
/// Films with more sound tracks and subtitles than this exist; 40 of 60 bytes each fit into a blob.
pub const TRACKS_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_report_fits_into_a_blob() {
        let long = || "ß".repeat(9999);
        let state = State {
            link: long(),
            title: long(),
            problem: long(),
            position_ms: u32::MAX,
            duration_ms: u32::MAX,
            ..State::default()
        };
        let track = Track {
            id: u32::MAX,
            subtitles: true,
            label: long(),
            selected: true,
        };
        let film = Film {
            tracks: vec![track; 500],
        };
        for report in [
            Report::State(state),
            Report::Film(film),
            Report::Name { name: long() },
            Report::Picture {
                at_ms: u32::MAX,
                jpeg: vec![255; JPEG_MAX],
            },
            Report::Picture {
                at_ms: 0,
                jpeg: vec![255; JPEG_MAX + 1],
            },
        ] {
            let cut = report.cut();
            assert_eq!(Report::decode(&cut.encode().unwrap()), Some(cut));
        }
    }

    #[test]
    fn words_are_numbers_in_the_order_of_the_documentation() {
        let first = |command: Command| command.encode().unwrap()[0];
        assert_eq!(
            Command::Seek { at_ms: 300 }.encode().unwrap(),
            [5, 0xac, 0x02]
        );
        assert_eq!(
            first(Command::Greet {
                label: String::new()
            }),
            0
        );
        assert_eq!(first(Command::Look), 13);
        assert_eq!(first(Command::Peek { at_ms: 1 }), 14);
        assert_eq!(Report::Forgotten.encode().unwrap(), [3]);
        let picture = Report::Picture {
            at_ms: 300,
            jpeg: vec![0xff, 0xd8],
        };
        assert_eq!(picture.encode().unwrap(), [4, 0xac, 0x02, 2, 0xff, 0xd8]);
        assert_eq!(Command::decode(&[99]), None, "a later word is skipped");
        let link = "x".repeat(LINK_MAX + 1);
        assert_eq!(
            Command::decode(&Command::Queue { link }.encode().unwrap()),
            None
        );
    }
}
