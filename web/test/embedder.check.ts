/**
 * Compiled by `npm run check`, never run: what an embedder writes against `/client.d.ts` has the types it expects. The code of
 * docs/embedding.md stands here line by line (test/embedding.test.ts compares).
 */
import { Client } from 'https://baton.example/client.js';

declare const file: File;
declare const video: HTMLVideoElement;
declare let link: string;
declare const files: File[];
declare const key: Uint8Array;
declare const handle: FileSystemFileHandle;
declare function remember(key: Uint8Array): void;
declare function status(safe: boolean, hashed: number | null, blake3: string | null): void;

const client = await Client.start();

const share = client.share(file, { title: 'A film' });
link = share.url;

share.onchange = () => {
  const { complete_peers, others, hash_progress, blake3 } = share.stats();
  status(complete_peers > 0 || others >= 1, hash_progress, blake3);
};
share.setUpload({ bytesPerSecond: 500_000 });
share.setUpload({ paused: true });
share.ticket;        // for `baton keep` on a server of one's own: serves it, cannot read it
share.stop();

{
const share = client.share(files, { keep: true });
// once share.stats().bytes_stored > 0:
remember(share.key);                         // whoever has it can publish under this link; share.folder is what was written
const again = client.share(files, { resume: key });
again.stop();
}

const view = client.open(link);
view.attach(video);
const { title, duration_s, playable } = await view.meta;

view.onchange = () => {
  const german = view.film()?.tracks.find((it) => it.kind === 'audio' && it.language === 'deu' && it.playable);
  if (german && !german.selected) view.select('audio', german.id);
};
view.select('subtitles', null); // none

const stream = await view.stream();
await stream.pipeTo(await handle.createWritable()); // a FileSystemFileHandle

await view.fetchAll();
const blob = await view.download();
view.close();
client.close();

const facts: [string, number | null, boolean, Blob, number, number] = [
  title,
  duration_s,
  playable,
  blob,
  view.stats().path_counts.relay,
  view.stats().peers.length,
];
export default facts;
