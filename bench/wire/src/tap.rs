//! The doors of the wire: TAP devices, the clock, `ppoll`.

use crate::switch::{Host, Switch};
use anyhow::{Context, Result};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Instant;

/// Makes the devices and carries frames until standard input closes.
pub fn run(hosts: Vec<(String, Host)>) -> Result<()> {
    let mut devices = hosts
        .iter()
        .map(|(name, _)| {
            tap(name).with_context(|| format!("cannot make the TAP device {name} (root may)"))
        })
        .collect::<Result<Vec<_>>>()?;
    let mut switch = Switch::new(hosts.into_iter().map(|(_, host)| host));
    println!("ready");
    let zero = Instant::now();
    let now_ns = || zero.elapsed().as_nanos() as u64;
    let mut buffer = [0; FRAME_BYTES_MAX];
    loop {
        while let Some(arrival) = switch.arrival(now_ns()) {
            // A device that is not up yet, or whose queue is full, loses frames as any network does.
            let _ = devices[arrival.to].write(&arrival.frame);
        }
        let wait_ns = switch.next_ns().map(|due| due.saturating_sub(now_ns()));
        let ready = wait(&devices, wait_ns)?;
        if ready.input_closed {
            return Ok(());
        }
        for from in ready.devices {
            for _ in 0..FRAMES_PER_TURN {
                match devices[from].read(&mut buffer) {
                    Ok(length) => switch.take(from, &buffer[..length], now_ns()),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    // EIO: the device is down, which it is until the caller has placed it.
                    Err(_) => break,
                }
            }
        }
    }
}

/// A TAP device without the packet-information prefix; it lives as long as the file.
fn tap(name: &str) -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    // SAFETY: `ifreq` is a plain C structure, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the descriptor is open and TUNSETIFF reads and writes one `ifreq`.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &mut request) };
    if done < 0 {
        return Err(std::io::Error::last_os_error()).context("TUNSETIFF");
    }
    Ok(file)
}

struct Ready {
    devices: Vec<usize>,
    input_closed: bool,
}

/// Waits for a frame, for the end of standard input, or so long.
fn wait(devices: &[File], wait_ns: Option<u64>) -> Result<Ready> {
    let entry = |fd| libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    let mut entries: Vec<libc::pollfd> = devices
        .iter()
        .map(|device| entry(device.as_raw_fd()))
        .collect();
    entries.push(entry(libc::STDIN_FILENO));
    let timeout = wait_ns.map(|ns| libc::timespec {
        tv_sec: (ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (ns % 1_000_000_000) as _,
    });
    let timeout = timeout
        .as_ref()
        .map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `entries` outlives the call, its length is given, and the timeout is null or a valid `timespec`.
    let polled = unsafe {
        libc::ppoll(
            entries.as_mut_ptr(),
            entries.len() as _,
            timeout,
            std::ptr::null(),
        )
    };
    if polled < 0 {
        let error = std::io::Error::last_os_error();
        if error.kind() != ErrorKind::Interrupted {
            return Err(error).context("ppoll");
        }
    }
    let input = entries.pop().map_or(0, |input| input.revents);
    let input_closed = input != 0
        && std::io::stdin()
            .read(&mut [0; 64])
            .is_ok_and(|length| length == 0);
    let devices = (0..devices.len()).filter(|&at| entries[at].revents & libc::POLLIN != 0);
    Ok(Ready {
        devices: devices.collect(),
        input_closed,
    })
}

/// Ethernet with a VLAN tag at an MTU of 1500, rounded up.
const FRAME_BYTES_MAX: usize = 1600;

/// One busy device does not keep the others waiting: 64 frames are 5 ms at 150 Mbit/s.
const FRAMES_PER_TURN: usize = 64;
