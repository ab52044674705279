import { createReadStream, existsSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig, type Plugin } from 'vite';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

// Modes: `production` needs src/wasm from `cargo xtask build`; `fake` draws the pages against dev/fake-boot.ts.
export default defineConfig(({ mode }) => {
  const fake = mode === 'fake';
  return {
    plugins: [embedAtPath(), earlyLoads(), clientTypes(), ...(fake ? [fakeEngine(), devFilm()] : [])],
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
          client: here('src/client.ts'),
        },
        preserveEntrySignatures: 'exports-only',
        output: {
          entryFileNames: (chunk) => (chunk.name === 'client' ? 'client.js' : 'assets/[name]-[hash].js'),
          chunkFileNames: 'assets/[name]-[hash].js',
          assetFileNames: 'assets/[name]-[hash][extname]',
        },
      },
    },
  };
});

/** Starts with the HTML what the first picture needs: the engine, its glue and the page's code. */
function earlyLoads(): Plugin {
  return {
    name: 'baton-early-loads',
    apply: 'build',
    transformIndexHtml: {
      order: 'post',
      handler(html, { bundle }) {
        const outputs = Object.values(bundle ?? {});
        const wanted = new Set<string>();
        // A chunk, and what it imports: found one by one they would come one after the other.
        const want = (fileName: string): void => {
          const chunk = bundle?.[fileName];
          if (chunk?.type !== 'chunk' || wanted.has(fileName) || html.includes(fileName)) return;
          wanted.add(fileName);
          chunk.imports.forEach(want);
        };
        for (const early of EARLY) {
          for (const it of outputs) if (it.type === 'chunk' && it.moduleIds.some((id) => id.endsWith(early))) want(it.fileName);
        }
        const wasm = outputs
          .filter((it) => it.type === 'asset' && it.originalFileNames.some((name) => name.includes('wasm/simd/')))
          .map((it) => `/${it.fileName}`);
        return [
          ...wasm.map((href) => ({
            tag: 'link',
            // The media query is one that engines without SIMD do not know: a TV of 2021 runs the other build and must not fetch both.
            attrs: { rel: 'preload', as: 'fetch', type: 'application/wasm', media: '(scripting: enabled)', crossorigin: true, href },
            injectTo: 'head-prepend' as const,
          })),
          ...[...wanted].map((fileName) => ({
            tag: 'link',
            attrs: { rel: 'modulepreload', crossorigin: true, href: `/${fileName}` },
            injectTo: 'head' as const,
          })),
        ];
      },
    },
  };
}

const EARLY = ['wasm/simd/baton.js', 'src/ui/app.tsx'];

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
