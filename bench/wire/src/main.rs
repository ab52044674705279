//! A slow network on one machine, for kernels without `sch_netem`.
//!
//!     baton-wire NAME:UP_KBIT:DOWN_KBIT:DELAY_US:LOSS_PPM[:QUEUE_KB] …
//!
//! It makes one TAP device per host and prints `ready`; the caller moves each device into a network namespace and gives
//! it an address. Ethernet frames between them wait their turn on the sender's uplink, travel both hosts' delays, then
//! wait their turn on the receiver's downlink. A path crosses two hosts each way, so a host's delay is a quarter of the
//! round trip. When standard input closes, the wire ends, and its devices go with it.

mod switch;
#[cfg(target_os = "linux")]
mod tap;

use anyhow::{Context, Result, bail};
use switch::Host;

fn main() -> Result<()> {
    let hosts = std::env::args()
        .skip(1)
        .map(|text| parse(&text).with_context(|| format!("not a host: {text}")))
        .collect::<Result<Vec<_>>>()?;
    if hosts.len() < 2 {
        bail!(
            "usage: baton-wire NAME:UP_KBIT:DOWN_KBIT:DELAY_US:LOSS_PPM[:QUEUE_KB] …  (two hosts at least)"
        );
    }
    run(hosts)
}

#[cfg(target_os = "linux")]
fn run(hosts: Vec<(String, Host)>) -> Result<()> {
    tap::run(hosts)
}

#[cfg(not(target_os = "linux"))]
fn run(_: Vec<(String, Host)>) -> Result<()> {
    bail!("network namespaces are Linux's")
}

/// `pub:20000:50000:7500:0:256`
fn parse(text: &str) -> Result<(String, Host)> {
    let words: Vec<&str> = text.split(':').collect();
    let (&name, numbers) = words.split_first().context("empty")?;
    // IFNAMSIZ is 16 with its NUL.
    if name.is_empty() || name.len() > 15 {
        bail!("a device's name has 1 to 15 bytes");
    }
    let numbers = numbers
        .iter()
        .map(|word| word.parse::<u32>())
        .collect::<Result<Vec<_>, _>>()?;
    let (up, down, delay_us, loss_ppm, queue_kb) = match numbers[..] {
        [up, down, delay, loss] => (up, down, delay, loss, QUEUE_KB),
        [up, down, delay, loss, queue] => (up, down, delay, loss, queue),
        _ => bail!("four or five numbers after the name"),
    };
    if up == 0 || down == 0 {
        bail!("a link that carries nothing");
    }
    let host = Host {
        up_kbit: up,
        down_kbit: down,
        delay_us,
        loss_ppm,
        queue_bytes: u64::from(queue_kb) * 1024,
    };
    Ok((name.to_owned(), host))
}

/// About 100 ms at 20 Mbit/s: what home routers have, and no more.
const QUEUE_KB: u32 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_and_four_or_five_numbers() {
        let (name, host) = parse("pub:20000:50000:7500:0").expect("well-formed");
        assert_eq!(
            (name.as_str(), host.up_kbit, host.delay_us),
            ("pub", 20_000, 7_500)
        );
        assert_eq!(host.queue_bytes, 256 * 1024);
        assert_eq!(
            parse("pub:1:1:1:1:64").expect("well-formed").1.queue_bytes,
            64 * 1024
        );
        for wrong in [
            "",
            "pub",
            "pub:1:1:1",
            "pub:1:1:1:x",
            "pub:0:1:1:1",
            "a-name-much-too-long:1:1:1:1",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
