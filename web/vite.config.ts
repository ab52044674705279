import { createReadStream, existsSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig, type Plugin } from 'vite';
import { htmlWords } from './src/messages.ts';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

// Modes: `production` needs src/wasm from `cargo xtask build`; `fake` draws the pages against dev/fake-boot.ts.
export default defineConfig(({ mode }) => {
  const fake = mode === 'fake';
  return {
    plugins: [wordsInHtml(), embedAtPath(), earlyLoads(), ownBoot(), clientTypes(), ...(fake ? [fakeEngine(), devFilm()] : [])],
    // Our code is imported by other origins too (/client.js), so assets are found relative to the module that names them.
    experimental: {
      renderBuiltUrl: (_file, { hostType }) => (hostType === 'html' ? undefined : { relative: true }),
    },
    worker: { format: 'iife', rolldownOptions: { output: { entryFileNames: 'assets/[name]-[hash].js' } } },
    build: {
      target: 'chrome79',
      cssTarget: 'chrome79',
      // No data: URLs: the Content-Security-Policy need not allow them.
      assetsInlineLimit: 0,
      // One small sheet: split, it would arrive in two waves.
      cssCodeSplit: false,
      modulePreload: { polyfill: false, resolveDependencies: () => [] },
      rolldownOptions: {
        input: {
          index: here('index.html'),
          embed: here('embed.html'),
          tv: here('tv.html'),
          client: here('src/client.ts'),
        },
        preserveEntrySignatures: 'allow-extension',
        output: {
          entryFileNames: (chunk) => (chunk.name === 'client' ? 'client.js' : 'assets/[name]-[hash].js'),
          chunkFileNames: 'assets/[name]-[hash].js',
          assetFileNames: 'assets/[name]-[hash][extname]',
          // The page's code is one file; what comes after the first picture stays apart.
          codeSplitting: {
            includeDependenciesRecursively: false,
            groups: [{ name: 'app', test: /src\/(messages|format|ui\/(?!panels\.|plot|qr|tracks\.|thumbs\.|files\.|about\.|beside|collect|resume|share\.|keep\.|file-button)\w[\w-]*)\.tsx?$|src\/ui\/panels\.css|node_modules\/@?preact/ }],
          },
        },
      },
    },
  };
});

/**
 * Starts with the HTML what the first picture needs. Before HTTP/2 a browser opens six connections: these are five files
 * and the style sheet, none of which waits to be found by another.
 */
function earlyLoads(): Plugin {
  return {
    name: 'baton-early-loads',
    apply: 'build',
    transformIndexHtml: {
      order: 'post',
      handler(html, { bundle }) {
        const files = Object.keys(bundle ?? {});
        const find = (pattern: RegExp): string => {
          const found = files.find((name) => pattern.test(name));
          if (!found) throw new Error(`no ${pattern} in the bundle`);
          return `/${found}`;
        };
        const withImports = (file: string): string[] => {
          const chunk = bundle?.[file.slice(1)];
          const imports = chunk?.type === 'chunk' ? chunk.imports.map((name) => `/${name}`) : [];
          return [file, ...imports.filter((name) => !html.includes(name))];
        };
        const wasm = Object.values(bundle ?? {}).find(
          (it) => it.type === 'asset' && it.originalFileNames.some((name) => name.includes('wasm/simd/')),
        )!;
        // An engine without SIMD (a TV of 2021) does not know this media query, and runs the other build: it must not fetch both.
        const media = '(scripting: enabled)';
        const preload = (attrs: Record<string, string | boolean>) => ({
          tag: 'link',
          attrs: { ...attrs, crossorigin: true },
          injectTo: 'head' as const,
        });
        return {
          // Chromium takes async scripts for unimportant; all else waits for these.
          html: html.replace(/<script async/g, '<script async fetchpriority="high"'),
          tags: [
            preload({ rel: 'preload', as: 'fetch', type: 'application/wasm', media, href: `/${wasm.fileName}` }),
            preload({ rel: 'modulepreload', media, href: find(/worker-simd/) }),
            // The interface, with what it imports: page.ts makes them preloads once the engine is on its way. Before that each of them kept
            // the page's thread from the engine's script, 13 ms in all.
            ...withImports(find(/assets\/app-/)).map((href) => preload({ rel: 'later', href })),
          ],
        };
      },
    },
  };
}

/**
 * Our own page and `/client.js` each have boot.ts in them, and the addresses that it names: shared, they would be one more
 * file to wait for on the way to the first picture.
 */
function ownBoot(): Plugin {
  return {
    name: 'baton-own-boot',
    enforce: 'pre',
    apply: 'build',
    resolveId(id, importer) {
      if (id === './boot' && importer?.endsWith('/session.ts')) return here('src/boot.ts') + '?page';
      if (!importer?.endsWith('/boot.ts?page')) return null;
      // The same file by another spelling is another module, with the same address in the end.
      return id.includes('?') ? `${here('src')}/${id}` : null;
    },
  };
}

/** The HTML has its words from messages.ts too. */
function wordsInHtml(): Plugin {
  return {
    name: 'baton-words-in-html',
    transformIndexHtml: {
      order: 'pre',
      handler: (html) =>
        html.replace(/%([a-z]+)%/g, (place, name: string) => {
          const words = htmlWords[name];
          if (words === undefined) throw new Error(`no words for ${place}`);
          return words.replace(/"/g, '&quot;');
        }),
    },
  };
}

/** `/client.d.ts`: src/api.ts holds nothing but declarations, so it is the types of `/client.js` as it stands. */
function clientTypes(): Plugin {
  return {
    name: 'baton-client-types',
    apply: 'build',
    generateBundle() {
      this.emitFile({ type: 'asset', fileName: 'client.d.ts', source: readFileSync(here('src/api.ts'), 'utf8') });
    },
  };
}

/** In development `/embed` is a page too, as the real server has it. */
function embedAtPath(): Plugin {
  return {
    name: 'baton-embed-path',
    configureServer(server) {
      server.middlewares.use((request, _response, next) => {
        if (/^\/embed(\?|$)/.test(request.url ?? '')) request.url = request.url!.replace('/embed', '/embed.html');
        next();
      });
    },
  };
}

/** Mode `fake`: no engine, so no src/wasm is needed. */
function fakeEngine(): Plugin {
  return {
    name: 'baton-fake-engine',
    enforce: 'pre',
    resolveId: (id) => (id.endsWith('/boot') ? here('dev/fake-boot.ts') : null),
  };
}

/** Mode `fake`: a film to look at. */
function devFilm(): Plugin {
  const film = process.env.BATON_DEV_FILM ?? here('../tests/media/big-buck-bunny-480p-30s.mp4');
  return {
    name: 'baton-dev-film',
    configureServer(server) {
      server.middlewares.use('/dev-film.mp4', (request, response, next) => {
        if (!existsSync(film)) return next();
        const size = statSync(film).size;
        const range = /bytes=(\d+)-(\d*)/.exec(request.headers.range ?? '');
        const start = range ? Number(range[1]) : 0;
        const end = range?.[2] ? Number(range[2]) : size - 1;
        response.writeHead(range ? 206 : 200, {
          'content-type': 'video/mp4',
          'accept-ranges': 'bytes',
          'content-length': end - start + 1,
          ...(range ? { 'content-range': `bytes ${start}-${end}/${size}` } : {}),
        });
        createReadStream(film, { start, end }).pipe(response);
      });
    },
  };
}
