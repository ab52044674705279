//! Native peers behind routers that translate addresses, with a real coturn: `cargo xtask soak` runs these as root.

use baton_tests::lab::{Lab, Nat, Network, STUN, TURN};
use baton_tests::native::{PATIENCE, Peer, be_a_peer, film, link_of};

#[test]
#[ignore = "becomes a peer of the other tests"]
fn a_process_of_the_other_tests() {
    be_a_peer();
}

/// Shares a film from one network and fetches it in another; the path that it took, as either end says.
fn carried(origin: &str, from: (&Network, &[&str]), to: (&Network, &[&str])) -> [String; 2] {
    carried_by([origin, origin], from, to)
}

/// The same with one server for either end.
fn carried_by(
    origins: [&str; 2],
    from: (&Network, &[&str]),
    to: (&Network, &[&str]),
) -> [String; 2] {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = film(1 << 20);
    std::fs::write(folder.path().join("film.bin"), &bytes).expect("a film");
    let seed = ["seed", "film.bin", "--server", origins[0]];
    let mut publisher = from.0.peer(folder.path(), &[&seed[..], from.1].concat());
    let link = link_of(&mut publisher).0.replace(origins[0], origins[1]);
    let get = ["get", &link, "-o", "copy.bin", "--seed"];
    let mut viewer = to.0.peer(folder.path(), &[&get[..], to.1].concat());
    viewer.wait("done", PATIENCE);
    let copy = std::fs::read(folder.path().join("copy.bin")).expect("the copy");
    assert!(copy == bytes);
    [path(&mut publisher), path(&mut viewer)]
}

fn path(peer: &mut Peer) -> String {
    let event = peer.wait_until(PATIENCE, |e| e["peers"][0]["path"].is_string());
    event["peers"][0]["path"]
        .as_str()
        .expect("just seen")
        .into()
}

#[test]
#[ignore = "needs root, iproute2, nftables and coturn"]
fn two_behind_usual_routers_meet_by_what_stun_tells_them() {
    let mut lab = Lab::new("stun");
    lab.coturn();
    let origin = lab.server(&[STUN]);
    let (one, two) = (lab.network(Nat::Plain), lab.network(Nat::Plain));
    assert_eq!(carried(&origin, (&one, &[]), (&two, &[])), ["direct"; 2]);
}

#[test]
#[ignore = "needs root, iproute2, nftables and coturn"]
fn two_behind_the_worst_routers_meet_at_a_coturn() {
    let mut lab = Lab::new("turn");
    lab.coturn();
    let origin = lab.server(&[STUN, TURN]);
    let (one, two) = (lab.network(Nat::Symmetric), lab.network(Nat::Symmetric));
    assert_eq!(carried(&origin, (&one, &[]), (&two, &[])), ["relay"; 2]);
}

#[test]
#[ignore = "needs root, iproute2 and nftables"]
fn two_behind_the_worst_routers_meet_at_the_servers_own_relay() {
    let mut lab = Lab::new("own");
    let origin = lab.server_that_relays();
    let (one, two) = (lab.network(Nat::Symmetric), lab.network(Nat::Symmetric));
    assert_eq!(carried(&origin, (&one, &[]), (&two, &[])), ["relay"; 2]);
}

#[test]
#[ignore = "needs root, iproute2 and nftables"]
fn a_container_is_reached_at_its_hosts_address_without_stun() {
    let mut lab = Lab::new("docker");
    let origin = lab.server(&[]);
    let (container, viewer) = (lab.network(Nat::Plain), lab.network(Nat::Symmetric));
    lab.forward(&container, "40000-40010");
    let outside = container.outside.clone();
    let flags = ["--udp-ports", "40000-40010", "--public-ip", &outside];
    assert_eq!(
        carried(&origin, (&container, &flags), (&viewer, &[])),
        ["direct"; 2]
    );
}

#[test]
#[ignore = "needs root, iproute2 and nftables"]
fn two_behind_firewalls_that_stop_udp_are_carried_by_the_server() {
    let mut lab = Lab::new("carry");
    let origin = lab.server_that_carries();
    let (one, two) = (lab.network(Nat::NoUdp), lab.network(Nat::NoUdp));
    assert_eq!(carried(&origin, (&one, &[]), (&two, &[])), ["relay"; 2]);
}

#[test]
#[ignore = "needs root, iproute2, nftables and redis-server"]
fn two_behind_firewalls_that_stop_udp_are_carried_from_one_node_to_another() {
    let mut lab = Lab::new("nodes");
    let [here, there] = lab.two_servers_that_carry();
    assert_ne!(here, there);
    let (one, two) = (lab.network(Nat::NoUdp), lab.network(Nat::NoUdp));
    assert_eq!(
        carried_by([&here, &there], (&one, &[]), (&two, &[])),
        ["relay"; 2]
    );
}
