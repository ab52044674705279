/**
 * How a worker becomes the engine: it waits for `{module}`, instantiates it and hands itself over.
 *
 * `worker_main` installs its own message handler before it returns, so whatever the page sent after the module finds it.
 */
export interface WorkerGlue {
  initSync(options: { module: WebAssembly.Module }): unknown;
  worker_main(): void;
}

export function runWorker(glue: WorkerGlue): void {
  const begin = (event: MessageEvent): void => {
    const { module } = event.data as { module?: WebAssembly.Module };
    if (!module) return;
    self.removeEventListener('message', begin);
    glue.initSync({ module });
    glue.worker_main();
  };
  self.addEventListener('message', begin);
}
