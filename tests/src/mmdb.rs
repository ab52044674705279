//! A small database of places in MaxMind's format 2.0, made by hand: IPv4 networks in an IPv6 tree.

use std::net::Ipv4Addr;

/// A value of the data section.
#[derive(Clone)]
pub enum Value {
    Text(&'static str),
    Number(u32),
    Small(u16),
    Long(u64),
    Single(f32),
    Double(f64),
    Map(Vec<(&'static str, Value)>),
}

/// Each network (address and prefix length) with what is known of it.
pub fn database(networks: &[(&str, u8, Value)]) -> Vec<u8> {
    // Node 0 is the root; a record is a node, or `None` for nothing, or data.
    let mut nodes = vec![[Record::Nothing; 2]];
    let mut data = Vec::new();
    for (address, bits, value) in networks {
        let address: Ipv4Addr = address.parse().expect("an IPv4 address");
        let at = data.len();
        encode(value, &mut data);
        // IPv4 is at ::/96.
        let path = (0..96)
            .map(|_| 0)
            .chain((0..*bits).map(|bit| usize::from(address.to_bits() >> (31 - bit) & 1 == 1)));
        let path: Vec<usize> = path.collect();
        let (last, way) = path.split_last().expect("a network is no point");
        let mut node = 0;
        for side in way {
            node = match nodes[node][*side] {
                Record::Node(next) => next,
                _ => {
                    nodes.push([Record::Nothing; 2]);
                    let next = nodes.len() - 1;
                    nodes[node][*side] = Record::Node(next);
                    next
                }
            };
        }
        nodes[node][*last] = Record::Data(at);
    }
    let count = nodes.len();
    let mut bytes = Vec::new();
    for record in nodes.iter().flatten() {
        let number = match record {
            Record::Nothing => count,
            Record::Node(node) => *node,
            Record::Data(at) => count + 16 + at,
        };
        bytes.extend((number as u32).to_be_bytes());
    }
    bytes.extend([0; 16]);
    bytes.extend(data);
    bytes.extend(b"\xab\xcd\xefMaxMind.com");
    let about = Value::Map(vec![
        ("node_count", Value::Number(count as u32)),
        ("record_size", Value::Small(32)),
        ("ip_version", Value::Small(6)),
        ("database_type", Value::Text("Baton-Test")),
        ("description", Value::Map(vec![("en", Value::Text("test"))])),
        ("binary_format_major_version", Value::Small(2)),
        ("binary_format_minor_version", Value::Small(0)),
        ("build_epoch", Value::Long(1_800_000_000)),
    ]);
    // Languages are an array, which nothing else here is: type 11, length 0.
    let mut metadata = Vec::new();
    encode(&about, &mut metadata);
    metadata[0] += 1;
    encode(&Value::Text("languages"), &mut metadata);
    metadata.extend([0, 4]);
    bytes.extend(metadata);
    bytes
}

#[derive(Clone, Copy)]
enum Record {
    Nothing,
    Node(usize),
    Data(usize),
}

fn encode(value: &Value, to: &mut Vec<u8>) {
    match value {
        Value::Text(text) => {
            assert!(text.len() < 29, "short ones only");
            to.push(2 << 5 | text.len() as u8);
            to.extend(text.bytes());
        }
        Value::Number(number) => {
            to.push(6 << 5 | 4);
            to.extend(number.to_be_bytes());
        }
        Value::Small(number) => {
            to.push(5 << 5 | 2);
            to.extend(number.to_be_bytes());
        }
        Value::Long(number) => {
            to.extend([8, 9 - 7]);
            to.extend(number.to_be_bytes());
        }
        Value::Single(number) => {
            to.extend([4, 15 - 7]);
            to.extend(number.to_be_bytes());
        }
        Value::Double(number) => {
            to.push(3 << 5 | 8);
            to.extend(number.to_be_bytes());
        }
        Value::Map(entries) => {
            to.push(7 << 5 | entries.len() as u8);
            for (key, value) in entries {
                encode(&Value::Text(key), to);
                encode(value, to);
            }
        }
    }
}
