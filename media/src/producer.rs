//! One selected track on its way out: samples are gathered to segments.

use crate::codec::{Codec, Packing, silence, silence_beside};
use crate::demux::{Sample, Stream, rescale, ticks, us};
use crate::mux::{OutSample, fmp4, webm};
use crate::order::{Known, Whole, last_until_next, whole};
use crate::shape::Shape;
use crate::{Kind, Output, TrackId};
use bytes::{Bytes, BytesMut};

/// A segment is closed at this length: appending is cheap, and a seek lands soon.
const SEGMENT_US: i64 = 500_000;
/// And at this size: one append should not block the page.
const SEGMENT_BYTES: usize = 1 << 20;
/// Pictures wait for those that are shown between them (`order`), but not when this many times as much has gathered.
const PATIENCE: usize = 4;
/// So far decode times may fall behind; then the first picture after the hole lasts for it. (Composition offsets have 32 bits.)
const HOLE_US: i64 = 1_000_000;
/// And at this many samples, which cost memory even when a file claims that they are empty.
const SEGMENT_SAMPLES: usize = 1024;
/// A picture that can be started from begins a new segment if the one before is at least this long.
const SPLIT_US: i64 = 250_000;
/// While bytes trickle in, segments shorter than this wait for more, unless the player is about to run dry.
const TRICKLE_US: i64 = 200_000;
/// A sound track that ends this much before the picture goes on in silence.
const SILENCE_US: i64 = 100_000;
/// Running dry: less than this is produced ahead of the playhead.
const DRY_US: i64 = 1_500_000;

/// Frames of silence for one hole: 20 s of most sound. Beyond it one frame lasts for all of it.
const FILL_MAX: u32 = 1024;

/// How many of them fill this room best.
fn frames(room: u32, step: u32) -> u32 {
    let count = room.saturating_add(step / 2) / step;
    if count > FILL_MAX { 0 } else { count }
}

pub(crate) struct Producer {
    pub slot: usize,
    /// With our timescale.
    stream: Stream,
    codec: Codec,
    packing: Packing,
    shape: Shape,
    batch: Vec<OutSample>,
    batch_bytes: usize,
    sequence: u32,
    /// Where the next sample's decode time must be, so that MediaSource sees no jump.
    next_dts: Option<u64>,
    /// Decode time up to which samples were taken.
    pub reached_us: i64,
    pub ended: bool,
    /// The source has no more sound: what follows is silence.
    silent: bool,
    /// Nothing was put out in this generation yet.
    fresh: bool,
    /// Pictures came that are shown before ones that came earlier.
    reorders: bool,
    /// How much later the first picture of this generation is decoded than shown, in ticks.
    lead: Option<i64>,
    /// When the last sample of this generation is shown, and the latest, as the source counts.
    taken: Option<(i64, i64)>,
    /// Samples come a second time, up to that one.
    again: bool,
}

impl Producer {
    pub(crate) fn new(slot: usize, stream: &Stream, codec: &Codec, packing: Packing) -> Producer {
        let shape = Shape::new(stream);
        let stream = Stream { timescale: shape.timescale(stream), ..stream.clone() };
        Producer {
            slot,
            stream,
            codec: codec.clone(),
            packing,
            shape,
            batch: Vec::new(),
            batch_bytes: 0,
            sequence: 0,
            next_dts: None,
            reached_us: 0,
            ended: false,
            silent: false,
            fresh: true,
            reorders: false,
            lead: None,
            taken: None,
            again: false,
        }
    }

    pub(crate) fn track(&self) -> TrackId {
        TrackId(self.slot as u32)
    }

    pub(crate) fn init(&self) -> Output {
        let bytes = match self.packing {
            Packing::Mp4 => fmp4::init(&self.stream, &self.codec),
            Packing::WebM => webm::init(&self.stream, &self.codec),
            Packing::Raw => Bytes::new(),
        };
        Output::Init { track: self.track(), bytes }
    }

    /// A film of this one picture, and when it is shown in its own film.
    pub(crate) fn still(&self, sample: Sample) -> Option<(u64, Bytes)> {
        let sample = self.shape.apply(sample)?;
        let data = sample.data.slice(..self.codec.whole_units(&sample.data));
        if data.is_empty() {
            return None;
        }
        let at_us = us(sample.pts as i64, self.stream.timescale).max(0) as u64;
        let alone = [OutSample { dts: 0, pts: 0, duration: self.stream.timescale, sync: true, data }];
        let Output::Init { bytes, .. } = self.init() else { return None };
        let mut all = BytesMut::from(&bytes[..]);
        all.extend_from_slice(&match self.packing {
            Packing::Mp4 => fmp4::segment(1, &alone),
            Packing::WebM => webm::segment(&self.stream, &alone),
            Packing::Raw => return None,
        });
        Some((at_us, all.freeze()))
    }

    /// A new generation begins near `time_us`.
    pub(crate) fn restart(&mut self, time_us: u64) {
        self.batch.clear();
        self.batch_bytes = 0;
        (self.next_dts, self.lead, self.taken) = (None, None, None);
        self.reached_us = time_us as i64;
        (self.ended, self.silent, self.fresh, self.again) = (false, false, true, false);
    }

    /// The source goes back for another track: what was taken is passed over, and then this one goes on.
    pub(crate) fn repeat(&mut self) {
        self.again = self.taken.is_some();
    }

    pub(crate) fn repeats(&self) -> bool {
        self.again
    }

    /// Whether a sample was taken before the source went back. What can be started from and is shown after all that is new, whatever became
    /// of the last one.
    fn had(&mut self, sample: &Sample) -> bool {
        let Some((last, latest)) = self.taken.filter(|_| self.again) else { return false };
        self.again = sample.pts != last && !(sample.sync && sample.pts > latest);
        self.again || sample.pts == last
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.silent
    }

    pub(crate) fn is_video(&self) -> bool {
        self.stream.kind == Kind::Video
    }

    /// The source has ended: one more frame of silence, if the film goes on until `end_us` and we know how.
    pub(crate) fn take_silence(&mut self, end_us: i64, generation: u32) -> Option<Option<Output>> {
        if self.is_video() || self.reached_us + SILENCE_US > end_us {
            return None;
        }
        let (data, samples) = silence(&self.codec, self.stream.channels)?;
        self.silent = true;
        let scale = self.stream.timescale;
        let dts = self.next_dts.unwrap_or_else(|| ticks(self.reached_us, scale).max(0) as u64);
        let duration = rescale(i64::from(samples), self.stream.sample_rate, scale) as u32;
        Some(self.push(OutSample { dts, pts: dts, duration: duration.max(1), sync: true, data }, generation))
    }

    /// Takes a sample; a full segment comes back.
    pub(crate) fn take(&mut self, sample: Sample, generation: u32) -> Option<Output> {
        if self.had(&sample) {
            return None;
        }
        self.taken = Some((sample.pts, self.taken.map_or(sample.pts, |(_, latest)| latest.max(sample.pts))));
        let told = sample.duration;
        let sample = self.shape.apply(sample)?;
        if self.is_video() {
            return self.push(sample, generation);
        }
        self.take_sound(sample, told, generation)
    }

    /// Sound that lasts longer than its samples (it begins late, or a hole comes after it) becomes silence and sound: Chromium plays what
    /// follows as soon as the samples are over. `told` is how long it lasts in the source.
    fn take_sound(&mut self, mut sample: OutSample, told: u32, generation: u32) -> Option<Output> {
        let Some((frame, samples, own)) = silence_beside(&self.codec, self.stream.channels, &sample.data) else {
            return self.push(sample, generation);
        };
        let scale = self.stream.timescale;
        let ticks = |samples| rescale(i64::from(samples), self.stream.sample_rate, scale).clamp(1, 1 << 30) as u32;
        let (step, own) = (ticks(samples), ticks(own));
        let early = sample.duration.saturating_sub(told.max(own));
        if self.fill(sample.dts, early, step, &frame) {
            sample.dts += u64::from(early);
            (sample.pts, sample.duration) = (sample.dts, sample.duration - early);
        }
        let (end, late) = (sample.dts + u64::from(own), sample.duration.saturating_sub(own));
        if frames(late, step) > 0 {
            sample.duration = own;
        }
        let out = self.push(sample, generation);
        self.fill(end, late, step, &frame);
        out
    }

    /// Silence, to the nearest number of frames; false where that is none.
    fn fill(&mut self, from: u64, room: u32, step: u32, frame: &Bytes) -> bool {
        let (end, count) = (from + u64::from(room), frames(room, step));
        let from = self.next_dts.unwrap_or(from).max(from);
        if count == 0 || from >= end {
            return count > 0;
        }
        let at = |i: u64| from + (end - from) * i / u64::from(count);
        for i in 0..u64::from(count) {
            let duration = (at(i + 1) - at(i)) as u32;
            self.batch.push(OutSample { dts: at(i), pts: at(i), duration, sync: true, data: frame.clone() });
        }
        self.batch_bytes += frame.len() * count as usize;
        self.next_dts = Some(end);
        self.reached_us = us(end as i64, self.stream.timescale);
        true
    }

    fn push(&mut self, mut sample: OutSample, generation: u32) -> Option<Output> {
        if self.is_video() {
            return self.push_picture(sample, generation);
        }
        self.join(&mut sample);
        let full = !self.batch.is_empty()
            && (us(sample.dts as i64, self.stream.timescale) - self.start_us() >= SEGMENT_US
                || self.batch.len() >= SEGMENT_SAMPLES
                || self.batch_bytes + sample.data.len() > SEGMENT_BYTES);
        let out = if full { self.flush(generation) } else { None };
        self.gather(sample);
        out
    }

    #[inline(never)]
    fn gather(&mut self, sample: OutSample) {
        self.reached_us = us((sample.dts + u64::from(sample.duration)) as i64, self.stream.timescale);
        self.batch_bytes += sample.data.len();
        self.batch.push(sample);
    }

    fn push_picture(&mut self, picture: OutSample, generation: u32) -> Option<Output> {
        self.reorders |= self.batch.last().is_some_and(|last| picture.pts < last.pts);
        self.gather(picture);
        let parts = |long: i64, bytes: usize| long >= SEGMENT_US || bytes > SEGMENT_BYTES;
        let long = self.reached_us - self.start_us();
        if !parts(long, self.batch_bytes) && self.batch.len() < SEGMENT_SAMPLES && self.split().is_none() {
            return None;
        }
        let patience = PATIENCE as i64;
        let hopeless = parts(long / patience, self.batch_bytes / PATIENCE) || self.batch.len() >= SEGMENT_SAMPLES;
        match self.whole(false) {
            Some(whole) => self.put_pictures(whole, generation),
            None if hopeless => {
                self.drop_broken();
                self.put_batch(generation)
            }
            None => None,
        }
    }

    /// The next picture at hand that can be started from, if what is before it is enough for a segment.
    fn split(&self) -> Option<usize> {
        let start = self.start_us();
        let long = |at: &OutSample| us(at.dts as i64, self.stream.timescale) - start >= SPLIT_US;
        (1..self.batch.len()).find(|at| self.batch[*at].sync && long(&self.batch[*at]))
    }

    /// The pictures that may go out, up to one that can be started from.
    fn whole(&self, over: bool) -> Option<Whole> {
        let whole = whole(&self.batch, Known { reorders: self.reorders, over })?;
        let Some(count) = self.split().filter(|at| *at < whole.count) else { return Some(whole) };
        let end = self.batch[count..].iter().map(|it| it.pts).min()?;
        let before = self.batch[..count].iter().all(|it| it.pts < end);
        Some(if before { Whole { count, end } } else { whole })
    }

    #[inline(never)]
    fn put_pictures(&mut self, whole: Whole, generation: u32) -> Option<Output> {
        let rest = self.batch.split_off(whole.count);
        self.drop_broken();
        last_until_next(&mut self.batch, whole.end);
        let out = self.put_batch(generation);
        self.batch_bytes = rest.iter().map(|it| it.data.len()).sum();
        self.batch = rest;
        out
    }

    /// A picture of which nothing is whole is not shown: the one before it lasts until the next. One that a generation begins with stays as
    /// it is: a decoder that breaks is noticed, pictures that wait for another to start from are not.
    fn drop_broken(&mut self) {
        let (codec, mut begins) = (&self.codec, self.fresh);
        self.batch.retain_mut(|picture| {
            let whole = codec.whole_units(&picture.data);
            if whole > 0 {
                picture.data.truncate(whole);
            }
            let keeps = whole > 0 || begins;
            begins = false;
            keeps
        });
    }

    /// Gives pictures their decode times, which follow each other without jumps: MediaSource would wait for the next sync sample after one.
    fn chain(&mut self) {
        let shown = self.batch.iter().map(|it| it.pts).min().unwrap_or(0) as i64;
        let Some(first) = self.batch.first_mut() else { return };
        let lead = *self.lead.get_or_insert(first.dts as i64 - shown);
        let mut dts = self.next_dts.unwrap_or(first.dts);
        let hole = shown.saturating_add(lead).saturating_sub(dts as i64);
        if us(hole, self.stream.timescale) > HOLE_US {
            first.duration = first.duration.saturating_add(u32::try_from(hole).unwrap_or(u32::MAX));
        }
        for picture in &mut self.batch {
            picture.dts = dts;
            dts += u64::from(picture.duration);
        }
        self.next_dts = Some(dts);
    }

    /// Lets sound frames follow each other: what is late comes at once.
    fn join(&mut self, sample: &mut OutSample) {
        let end = sample.dts + u64::from(sample.duration);
        if let Some(next) = self.next_dts {
            if sample.dts < next {
                sample.duration = u32::try_from(end.saturating_sub(next)).unwrap_or(u32::MAX).max(1);
                sample.dts = next;
            }
            sample.pts = sample.dts;
        }
        self.next_dts = Some(sample.dts + u64::from(sample.duration));
    }

    fn start_us(&self) -> i64 {
        self.batch.first().map_or(0, |s| us(s.dts as i64, self.stream.timescale))
    }

    /// No sample can be had now: whether what is gathered should go out nevertheless.
    pub(crate) fn is_worth_flushing(&self, playhead_us: u64) -> bool {
        let long = self.reached_us - self.start_us();
        let dry = self.reached_us - (playhead_us as i64) < DRY_US;
        !self.batch.is_empty() && (self.fresh || long >= TRICKLE_US || dry)
    }

    /// What is gathered, as far as it can be shown; of a new generation the first picture, whatever follows.
    pub(crate) fn flush(&mut self, generation: u32) -> Option<Output> {
        if !self.is_video() {
            return self.put_batch(generation);
        }
        let first = self.batch.first()?;
        let alone = Whole { count: 1, end: first.pts + u64::from(first.duration) };
        let whole = self.whole(false).or(self.fresh.then_some(alone))?;
        self.put_pictures(whole, generation)
    }

    /// All that is gathered: nothing will follow.
    pub(crate) fn finish(&mut self, generation: u32) -> Option<Output> {
        if let Some(whole) =
            whole(&self.batch, Known { reorders: self.reorders, over: true }).filter(|_| self.is_video())
        {
            self.drop_broken();
            last_until_next(&mut self.batch, whole.end);
        }
        self.put_batch(generation)
    }

    #[inline(never)]
    fn put_batch(&mut self, generation: u32) -> Option<Output> {
        if self.is_video() {
            self.chain();
        }
        let samples = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let random_access = samples.first()?.sync;
        self.fresh = false;
        let scale = self.stream.timescale;
        let bytes = match self.packing {
            Packing::Mp4 => {
                self.sequence = self.sequence.wrapping_add(1);
                fmp4::segment(self.sequence, &samples)
            }
            Packing::WebM => webm::segment(&self.stream, &samples),
            Packing::Raw => {
                let mut all = BytesMut::with_capacity(samples.iter().map(|s| s.data.len()).sum());
                samples.iter().for_each(|s| all.extend_from_slice(&s.data));
                all.freeze()
            }
        };
        let start = samples.iter().map(|s| s.pts).min()?;
        let end = samples.iter().map(|s| s.pts + u64::from(s.duration)).max()?;
        let at = |ticks: u64| us(ticks as i64, scale).max(0) as u64;
        Some(Output::Segment {
            track: self.track(),
            bytes,
            start_us: at(start),
            end_us: at(end),
            random_access,
            generation,
        })
    }
}
