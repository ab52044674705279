"""Reads vectors.txt as docs/protocol.md says, with none of Baton's code.

    pip install blake3 pycryptodome cryptography && python3 second_opinion.py

Not part of the tests: it was run when the vectors were fixed and is kept so that anybody can run it again.
"""
import base64, pathlib, struct, zlib
from blake3 import blake3
from Crypto.Cipher import ChaCha20, ChaCha20_Poly1305
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

lines = (pathlib.Path(__file__).parent / "vectors.txt").read_text().splitlines()
v = dict(line.split(" ") for line in lines)
b = lambda name: bytes.fromhex(v[name])


def derive(context, material):
    return blake3(material, derive_key_context=context).digest()


def public(seed):
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def signed(data):
    """Takes the publisher's signature off; raises when it is wrong."""
    Ed25519PublicKey.from_public_bytes(b("publisher")).verify(data[-64:], data[:-64])
    return data[:-64]


def text(name):
    data = base64.urlsafe_b64decode(v[name] + "=" * (-len(v[name]) % 4))
    assert struct.pack("<I", zlib.crc32(data[:-4])) == data[-4:]
    return data[:-4]


def tlv(kind, value):
    return bytes([kind, len(value)]) + value


# Sections 1 and 2: link, derivations, ticket.
server = tlv(1, b"https://second.example:8443")
assert public(b("publisher_seed")) == b("publisher")
assert text("link") == b"\x01" + b("publisher") + b("secret") + server
assert text("link_without_servers") == b"\x01" + b("publisher") + b("secret")
material = b("publisher") + b("secret")
assert derive("baton 2026-11 swarm key v1", material) == b("swarm_seed")
assert public(b("swarm_seed")) == b("swarm")
assert derive("baton 2026-11 signalling key v1", material) == b("signalling")
assert derive("baton 2026-11 link slot key v1", material) == b("link_slot")
assert text("ticket") == b"\x81" + b("publisher") + b("swarm_seed") + b("signalling") + server

# Section 3: head and slot.
payload = b("slot_payload")
box = ChaCha20_Poly1305.new(key=b("link_slot"), nonce=payload[:24])
box.update(b"baton slot v1" + struct.pack("<BI", 1, 3))
assert box.decrypt_and_verify(payload[24:56], payload[56:]) == b("content_key")
head = b"batonhd1" + struct.pack("<Q", 7) + b"\xaa" * 32 + b("swarm")
head += struct.pack("<QQI", 1_800_000_000, 1_795_000_000_123, 3) + bytes([0, 2, 1, 0])
head += struct.pack("<HBBI", 0, 1, 0, 1) + struct.pack("<HBBI", 1, 0, 0, 4000)
head += struct.pack("<BBI", 1, len(payload), 3) + payload
assert signed(b("head")) == head
assert blake3(b("head")).digest() == b("head_hash")


# Sections 4 and 5: pieces.
def seal(index, plaintext):
    lane = b("content_key") + struct.pack("<H", 1)
    nonce_key = derive("baton 2026-11 lane nonce key v1", lane)
    nonce = blake3(plaintext + struct.pack("<HI", 1, index), key=nonce_key).digest()[:24]
    key = derive("baton 2026-11 lane cipher key v1", lane)
    return nonce, ChaCha20.new(key=key, nonce=nonce).encrypt(plaintext)


# BLAKE3's tree by hand, because no library shows inner nodes: section 2.1 to 2.5 of its paper.
IV = [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19]
ORDER = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]


def compress(cv, block, counter, length, flags):
    s = cv + IV[:4] + [counter & 0xFFFFFFFF, counter >> 32, length, flags]
    m = list(struct.unpack("<16I", block))
    rot = lambda x, n: (x >> n | x << (32 - n)) & 0xFFFFFFFF

    def g(a, b, c, d, x, y):
        for m, r, t in ((x, 16, 12), (y, 8, 7)):
            s[a] = (s[a] + s[b] + m) & 0xFFFFFFFF
            s[d] = rot(s[d] ^ s[a], r)
            s[c] = (s[c] + s[d]) & 0xFFFFFFFF
            s[b] = rot(s[b] ^ s[c], t)

    for _ in range(7):
        for i in range(4):
            g(i, 4 + i, 8 + i, 12 + i, m[2 * i], m[2 * i + 1])
        for i in range(4):
            g(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, m[8 + 2 * i], m[9 + 2 * i])
        m = [m[i] for i in ORDER]
    return [s[i] ^ s[i + 8] for i in range(8)]


def node(data, first_chunk, root=0):
    """The chaining value of the subtree over data; flags 1 chunk start, 2 chunk end, 4 parent, 8 root."""
    if len(data) <= 1024:
        cv = IV
        for at in range(0, max(len(data), 1), 64):
            block = data[at:at + 64]
            last = at + 64 >= len(data)
            flags = (1 if at == 0 else 0) | (2 | root if last else 0)
            cv = compress(cv, block.ljust(64, b"\0"), first_chunk, len(block), flags)
        return cv
    left = 1024 << ((len(data) - 1) // 1024).bit_length() - 1
    pair = node(data[:left], first_chunk) + node(data[left:], first_chunk + left // 1024)
    return compress(IV, struct.pack("<16I", *pair), 0, 64, 4 | root)


cases = [("one_byte", 0, 1), ("short", 1, 100), ("one_block", 2, 16384), ("two_blocks", 3, 16385), ("three_blocks", 4, 40000), ("full", 5, 1 << 20)]
for name, index, length in cases:
    header = b("header_" + name)
    nonce, sealed = seal(index, bytes(i % 251 for i in range(length)))
    core = b"batonpc1" + struct.pack("<HHIIIq", 2, 1, index, length, 3, -1_500_000) + b("swarm") + nonce + blake3(sealed).digest()
    assert len(core) == 120 and signed(header[:184]) == core, name
    if "sealed_" + name in v:
        assert b("sealed_" + name) == sealed
    blocks = [sealed[at:at + 16384] for at in range(0, length, 16384)]
    hashes = [struct.pack("<8I", *node(block, 16 * i)) for i, block in enumerate(blocks)]
    assert header[184:] == (b"".join(hashes) if len(blocks) > 1 else b""), name

# Section 6: manifest, postcard by hand (varints LEB128, options a byte, strings and lists with their length).
def varint(n):
    return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + varint(n >> 7)


string = lambda s: varint(len(s)) + s.encode()
some = lambda x: b"\1" + x
ranges = varint(2) + varint(0) + varint(4096) + varint(2_900_000) + varint(100_000)
entry = string("holiday/film.mp4") + varint(3_000_000) + some(string("video/mp4")) + varint(1) + varint(0) + ranges
entry += some(varint(30_000_000)) + some(bytes(range(1, 33)))
record = varint(0) + string("film.mp4") + varint(1) + varint(len(entry)) + entry + b"\0"
assert b("manifest_piece") == b"btnmani1" + struct.pack("<III", 1, 0, len(record)) + record
print(len(v), "vectors hold")
