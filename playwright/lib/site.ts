// Somebody else's web site: a page of another origin.
import { createServer, type Server as HttpServer } from 'node:http';
import { once } from 'node:events';

export class Site {
  #html = '';
  readonly #server: HttpServer;

  private constructor(server: HttpServer) {
    this.#server = server;
  }

  static async start(): Promise<Site> {
    const server = createServer();
    const site = new Site(server);
    server.on('request', (request, response) => {
      // Browsers ask for an icon and print an error when there is none.
      const found = request.url === '/';
      response.writeHead(found ? 200 : 204, { 'content-type': 'text/html; charset=utf-8' }).end(found ? site.#html : '');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return site;
  }

  /** `http://localhost:PORT`: another port is another origin. */
  get origin(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the site does not listen');
    return `http://localhost:${address.port}`;
  }

  /** What `/` is. */
  serve(body: string): void {
    this.#html = `<!doctype html><html lang="en"><title>Somebody else</title><body>${body}</body></html>`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
