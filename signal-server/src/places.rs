//! Databases that know where addresses are, in MaxMind's format; replaced while the server runs when their files change.
//!
//! Any of them will do: country, city or ASN, MaxMind's own names of fields or the flat ones of free databases. Of several, each fills in
//! what the earlier ones do not know.

use std::fs::{File, Metadata};
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use maxminddb::Reader;
use serde::Deserialize;
use serde::de::{self, IgnoredAny, MapAccess, Visitor};

use crate::geo::{Geo, direction};
use crate::metrics::Metrics;

/// All databases of this server; none knows nothing.
#[derive(Default)]
pub struct Places {
    files: Vec<Watched>,
}

struct Watched {
    path: PathBuf,
    database: RwLock<Arc<Database>>,
}

struct Database {
    reader: Reader<Vec<u8>>,
    stamp: Stamp,
}

/// When a file was written and how long it is: what changes when it is replaced.
type Stamp = (Option<SystemTime>, u64);

/// What a database says of an address, as far as it matters here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Record<'a> {
    #[serde(borrow)]
    country: Country<'a>,
    #[serde(borrow)]
    country_code: Option<&'a str>,
    city: City,
    location: Location,
    latitude: Option<Figure>,
    longitude: Option<Figure>,
    autonomous_system_number: Option<Figure>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Country<'a> {
    #[serde(borrow)]
    iso_code: Option<&'a str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Location {
    latitude: Option<Figure>,
    longitude: Option<Figure>,
}

/// A number of whatever type: makers of databases do not agree on them.
#[derive(Clone, Copy)]
struct Figure(f64);

/// A city's number: MaxMind's own, or one made of its name.
#[derive(Default)]
struct City(u32);

impl Places {
    /// # Errors
    /// A file that cannot be read or is no sound database, with its name and `--geo`.
    pub fn load(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let load = |path: &PathBuf| {
            let database = Database::load(path).context("--geo")?;
            anyhow::Ok(Watched {
                path: path.clone(),
                database: RwLock::new(Arc::new(database)),
            })
        };
        let files = paths.iter().map(load).collect::<anyhow::Result<_>>()?;
        Ok(Self { files })
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Reads nothing but memory: a microsecond.
    pub fn look_up(&self, address: IpAddr) -> Geo {
        let mut geo = Geo::default();
        for file in &self.files {
            let database = file.database();
            // A record of another shape than we know says nothing.
            if let Ok(found) = database.reader.lookup(address.to_canonical())
                && let Ok(Some(record)) = found.decode::<Record>()
            {
                record.add_to(&mut geo);
            }
        }
        geo
    }

    /// Looks at the files now and then. New ones that are no good change nothing: the old database stays, and a line says why.
    pub async fn keep_fresh(self: Arc<Self>, every: Duration, metrics: Arc<Metrics>) {
        let mut tick = tokio::time::interval(every);
        tick.tick().await;
        // What was refused once is not read again each time.
        let mut refused: Vec<Option<Stamp>> = vec![None; self.files.len()];
        loop {
            tick.tick().await;
            for (file, refused) in self.files.iter().zip(&mut refused) {
                let Some(stamp) = file.changed().filter(|stamp| *refused != Some(*stamp)) else {
                    continue;
                };
                let path = file.path.clone();
                let loaded = tokio::task::spawn_blocking(move || Database::load(&path)).await;
                match loaded.context("it broke the reader").and_then(|it| it) {
                    Ok(database) => {
                        file.put(database);
                        metrics.geo_reloads_total.add(1);
                        tracing::info!("the new database of places is in use");
                    }
                    Err(error) => {
                        *refused = Some(stamp);
                        metrics.geo_refused_total.add(1);
                        let error = format!("{error:#}");
                        tracing::warn!(error, "the old database of places stays");
                    }
                }
            }
        }
    }
}

impl Watched {
    fn database(&self) -> Arc<Database> {
        self.database
            .read()
            .expect("nobody panics while holding it")
            .clone()
    }

    fn put(&self, database: Database) {
        *self
            .database
            .write()
            .expect("nobody panics while holding it") = Arc::new(database);
    }

    /// The file's stamp, if it is another file than that in use. One that is away for a moment is no news.
    fn changed(&self) -> Option<Stamp> {
        let stamp = stamp(&std::fs::metadata(&self.path).ok()?);
        (stamp != self.database().stamp).then_some(stamp)
    }
}

impl Database {
    /// Reads the file whole and checks all of it: a lookup later meets nothing that it cannot read.
    fn load(path: &Path) -> anyhow::Result<Self> {
        let read = || -> anyhow::Result<Self> {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            ensure!(metadata.is_file(), "it is no file");
            ensure!(
                metadata.len() <= FILE_MAX,
                "it has {} bytes, more than {FILE_MAX}",
                metadata.len()
            );
            let mut bytes = Vec::with_capacity(metadata.len() as usize);
            file.take(FILE_MAX).read_to_end(&mut bytes)?;
            let reader = Reader::from_source(bytes)?;
            reader.verify()?;
            Ok(Self {
                reader,
                stamp: stamp(&metadata),
            })
        };
        read().with_context(|| path.display().to_string())
    }
}

impl Record<'_> {
    /// Fills in what is not known yet.
    fn add_to(&self, geo: &mut Geo) {
        if !geo.has_country() {
            let code = self.country.iso_code.or(self.country_code);
            geo.country = code.and_then(country).unwrap_or_default();
        }
        if geo.asn == 0 {
            geo.asn = self.autonomous_system_number.map_or(0, |it| it.0 as u32);
        }
        if geo.city == 0 {
            geo.city = self.city.0;
        }
        let place = (self.location.latitude.or(self.latitude))
            .zip(self.location.longitude.or(self.longitude));
        if let Some((latitude, longitude)) = place
            && geo.direction == [0; 3]
        {
            geo.direction = direction(latitude.0, longitude.0);
        }
    }
}

fn country(code: &str) -> Option<[u8; 2]> {
    let code: [u8; 2] = code.as_bytes().try_into().ok()?;
    code.iter().all(u8::is_ascii_uppercase).then_some(code)
}

fn stamp(metadata: &Metadata) -> Stamp {
    (metadata.modified().ok(), metadata.len())
}

impl<'de> Deserialize<'de> for Figure {
    fn deserialize<D: de::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Figure;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a number")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Figure, E> {
                Ok(Figure(number as f64))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Figure, E> {
                Ok(Figure(number as f64))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Figure, E> {
                Ok(Figure(number))
            }

            fn visit_str<E: de::Error>(self, number: &str) -> Result<Figure, E> {
                number.parse().map(Figure).map_err(E::custom)
            }
        }
        from.deserialize_any(Any)
    }
}

impl<'de> Deserialize<'de> for City {
    fn deserialize<D: de::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = City;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a city's name, or a map with its number")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<City, E> {
                // FNV-1a; names only have to differ.
                let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
                    (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
                });
                Ok(City(if name.is_empty() { 0 } else { hash.max(1) }))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<City, A::Error> {
                let mut city = City(0);
                while let Some(key) = map.next_key::<&str>()? {
                    if key == "geoname_id" {
                        city = City(map.next_value::<Figure>()?.0 as u32);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(city)
            }
        }
        from.deserialize_any(Either)
    }
}

/// The largest database: MaxMind's of cities has 120 MB. It is held in memory.
const FILE_MAX: u64 = 1 << 30;
