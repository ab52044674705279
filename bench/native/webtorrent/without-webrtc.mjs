// node --import: WebTorrent's WebRTC is a binary that only an install script fetches. Without it, it still has plain BitTorrent over TCP,
// which is what two native peers of it speak anyway.
import { register } from 'node:module';

const names = ['RTCPeerConnection', 'RTCSessionDescription', 'RTCIceCandidate'];
const nothing = names.map((name) => `export class ${name} {}`).join('\n');
const module = (source) => `data:text/javascript,${encodeURIComponent(source)}`;

register(
  module(`export async function resolve(name, context, next) {
    const gone = name === 'webrtc-polyfill' || name === 'node-datachannel';
    return gone ? { url: ${JSON.stringify(module(nothing))}, shortCircuit: true } : next(name, context);
  }`),
);
