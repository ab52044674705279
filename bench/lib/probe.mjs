// A ping without privileges. `node probe.mjs echo ADDRESS` answers; `node probe.mjs ask ADDRESS PORT` asks every 50 ms until its
// standard input closes, and then prints the round trips it saw, milliseconds as JSON.
import { createSocket } from 'node:dgram';

const [what, address, port] = process.argv.slice(2);
const socket = createSocket('udp4');

if (what === 'echo') {
  socket.on('message', (bytes, from) => socket.send(bytes, from.port, from.address));
  socket.bind(0, address, () => console.log(`listening on ${socket.address().port} `));
  process.stdin.resume().on('end', () => process.exit(0));
} else {
  const asked = [];
  const took = [];
  socket.on('message', (bytes) => took.push(performance.now() - asked[bytes.readUInt32LE(0)]));
  const ask = setInterval(() => {
    const bytes = Buffer.alloc(64);
    bytes.writeUInt32LE(asked.push(performance.now()) - 1, 0);
    socket.send(bytes, Number(port), address);
  }, 50);
  process.stdin.resume().on('end', () => {
    clearInterval(ask);
    // What is still on its way waited longest.
    setTimeout(() => {
      console.log(JSON.stringify({ took, lost: asked.length - took.length }));
      process.exit(0);
    }, 1000);
  });
}
