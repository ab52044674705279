// A bittorrent-tracker that speaks WebSocket only, on a port of this machine.
// Not the whole package: its client wants a native module, which only an install script brings.
import Server from 'bittorrent-tracker/server';

const server = new Server({ udp: false, http: false, ws: true, stats: false });
server.on('error', (error) => {
  console.error(error);
  process.exit(1);
});
server.on('warning', () => {});
server.listen(Number(process.argv[2]), '127.0.0.1');
