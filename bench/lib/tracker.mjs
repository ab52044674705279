// node tracker.mjs ADDRESS: WebTorrent's own tracker, WebSocket only.
import Server from 'bittorrent-tracker/server';

const tracker = new Server({ udp: false, http: false, ws: true, stats: false });
tracker.on('error', (error) => console.error(String(error)));
tracker.on('listening', () => console.log(`listening on ws://${tracker.ws.address().address}:${tracker.ws.address().port}`));
tracker.listen(0, process.argv[2]);
process.stdin.resume().on('end', () => process.exit(0));
