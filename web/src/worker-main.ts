/**
 * One script for both sides of the engine. In a worker it becomes the engine: it waits for `{module}`, instantiates it and
 * hands itself over. On a page it leaves the glue where boot.ts finds it.
 *
 * `worker_main` installs its own message handler before it returns, so whatever the page sent after the module finds it.
 */
import { openFolder } from './folder';

export interface WorkerGlue {
  initSync(options: { module: WebAssembly.Module }): unknown;
  worker_main(): void;
}

export function run(glue: WorkerGlue, build: 'mvp' | 'simd'): void {
  if (typeof document === 'undefined') becomeEngine(glue);
  else (globalThis as unknown as Record<string, WorkerGlue>)[`batonGlue_${build}`] = glue;
}

function becomeEngine(glue: WorkerGlue): void {
  (self as unknown as { batonFolder: unknown }).batonFolder = openFolder;
  // Only what is thrown is heard by the page; the engine also breaks down in promises.
  self.addEventListener('unhandledrejection', (event) => {
    setTimeout(() => {
      throw event.reason;
    });
  });
  // Another tab of this browser has the same stream open (tabs.ts).
  self.addEventListener('message', ({ data }) => {
    if (!data.tab) return;
    const scope = self as unknown as { batonTab?(news: unknown): void; importScripts(url: string): void };
    try {
      if (!scope.batonTab) scope.importScripts(data.script);
      scope.batonTab!(data.tab);
    } catch {
      // The server is away: it is tried again.
      self.postMessage({ ended: data.tab.id });
    }
  });
  const begin = (event: MessageEvent): void => {
    const { module, ac3 } = event.data as { module?: WebAssembly.Module; ac3: string };
    if (!module) return;
    const scope = self as unknown as { batonAc3(base: string): Promise<unknown>; batonDecoder: unknown; importScripts(url: string): void };
    // Most films have no sound that needs it.
    scope.batonDecoder = async () => {
      scope.importScripts(ac3);
      return scope.batonAc3(ac3);
    };
    self.removeEventListener('message', begin);
    glue.initSync({ module });
    glue.worker_main();
  };
  self.addEventListener('message', begin);
}
