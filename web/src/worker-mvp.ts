/** Entry of the worker that runs the `mvp` build. Built as a classic script: Chromium 79 has no module workers. */
import * as glue from './wasm/mvp/baton.js';
import { runWorker, type WorkerGlue } from './worker-main';

runWorker(glue as unknown as WorkerGlue);
