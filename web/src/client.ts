/** `/client.js`: the API as an ES module, for our own pages and for whoever embeds Baton. */
import type * as api from './api';
import { startClient, warmUp } from './boot';

warmUp();

class Entry {
  static start(options?: api.ClientOptions): Promise<api.Client> {
    return startClient(options);
  }
}

export const Client = Entry as unknown as typeof api.Client;
export type * from './api';
