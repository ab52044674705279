/** Compiled by `npm run check`, never run: what an embedder writes against `/client.d.ts` has the types it expects. */
import type { Client, PeerStats, Problem } from '../src/api';

export async function embed(client: Client, file: File, video: HTMLVideoElement): Promise<Blob> {
  const share = client.share([file], { title: 'A film' });
  const link: string = share.url;
  share.onchange = () => {
    const progress: number | null = share.stats().hash_progress;
    void progress;
  };
  share.setUpload({ paused: true, bytesPerSecond: null });

  const view = client.open(link);
  view.attach(video);
  const { title, playable }: { title: string; playable: boolean } = await view.meta;
  void [title, playable];
  const stats = view.stats();
  const peers: PeerStats[] = stats.peers;
  const problem: Problem | null = stats.problem;
  const paths: number = stats.path_counts.direct + stats.path_counts.relay;
  void [peers, problem, paths, stats.startup_ms, stats.stalls, stats.rejected_blocks];
  await view.fetchAll();
  const blob = await view.download();
  view.close();
  share.stop();
  client.close();
  return blob;
}
