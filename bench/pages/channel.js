// The floor: one ordered channel, 64 KiB messages, 4 MiB high-water mark; nothing is read, hashed or kept.
const MESSAGE_BYTES = 64 * 1024;
const HIGH_WATER_BYTES = 4 * 1024 * 1024;

const connection = new RTCPeerConnection();
let channel;

const described = () =>
  new Promise((resolve) => {
    const look = () => {
      if (connection.iceGatheringState === 'complete') resolve(connection.localDescription.toJSON());
    };
    connection.addEventListener('icegatheringstatechange', look);
    look();
  });

window.bare = {
  async offer() {
    channel = connection.createDataChannel('bulk');
    await connection.setLocalDescription();
    return described();
  },
  async answer(offer) {
    connection.ondatachannel = (event) => {
      channel = event.channel;
      receive();
    };
    await connection.setRemoteDescription(offer);
    await connection.setLocalDescription();
    return described();
  },
  async accept(answer) {
    await connection.setRemoteDescription(answer);
    if (channel.readyState !== 'open') await new Promise((resolve) => (channel.onopen = resolve));
  },
  /** Sends so many bytes, in whole messages. */
  send(bytes) {
    const message = crypto.getRandomValues(new Uint8Array(MESSAGE_BYTES));
    channel.bufferedAmountLowThreshold = HIGH_WATER_BYTES / 2;
    let left = Math.ceil(bytes / MESSAGE_BYTES);
    const pump = () => {
      while (left > 0 && channel.bufferedAmount < HIGH_WATER_BYTES) {
        channel.send(message);
        left -= 1;
      }
    };
    channel.onbufferedamountlow = pump;
    pump();
  },
  /** Resolves with the milliseconds from the first message to the last. */
  received: (bytes) => new Promise((resolve) => (expected = { bytes, resolve })),
};

let expected = { bytes: Infinity, resolve: () => undefined };

function receive() {
  let bytes = 0;
  let began = 0;
  channel.binaryType = 'arraybuffer';
  channel.onmessage = (event) => {
    if (bytes === 0) began = performance.now();
    bytes += event.data.byteLength;
    if (bytes >= expected.bytes) expected.resolve(performance.now() - began);
  };
}
