/** The link as a QR code. Dark on white in every theme: cameras want it so. */
import { encode } from 'uqr';
import { shareMessages } from '../messages-share';

export function Qr({ text }: { text: string }) {
  // A quiet zone of 2 is enough on our own white card; level L keeps the modules large.
  const { data, size } = encode(text, { ecc: 'L', border: 2 });
  let path = '';
  data.forEach((row, y) => {
    for (let x = 0; x < size; x++) {
      if (!row[x]) continue;
      const from = x;
      while (x + 1 < size && row[x + 1]) x += 1;
      path += `M${from} ${y}h${x - from + 1}v1h-${x - from + 1}z`;
    }
  });
  return (
    <svg data-testid="qr" viewBox={`0 0 ${size} ${size}`} role="img" aria-label={shareMessages.qr} shapeRendering="crispEdges">
      <rect width={size} height={size} fill="#fff" />
      <path d={path} fill="#101613" />
    </svg>
  );
}
