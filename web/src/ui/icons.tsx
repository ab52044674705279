/** Our icons: 24 × 24, drawn in the current colour. */
const icon = (path: string) => () => (
  <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
    <path d={path} />
  </svg>
);

export const PlayIcon = icon('M7 4.6v14.8a1 1 0 0 0 1.5.86l12.4-7.4a1 1 0 0 0 0-1.72L8.5 3.74A1 1 0 0 0 7 4.6z');
export const PauseIcon = icon('M6 4h4.2v16H6zM13.8 4H18v16h-4.2z');
export const VolumeIcon = icon(
  'M3 9v6h4l5 4.6V4.4L7 9zM15.5 8.2v7.6a4.3 4.3 0 0 0 0-7.6zM15.5 3.6v2.1a6.5 6.5 0 0 1 0 12.6v2.1a8.6 8.6 0 0 0 0-16.8z',
);
export const MutedIcon = icon(
  'M3 9v6h4l5 4.6V4.4L7 9zM21.6 9.5l-1.4-1.4-2.4 2.5-2.4-2.5L14 9.5l2.4 2.5-2.4 2.5 1.4 1.4 2.4-2.5 2.4 2.5 1.4-1.4-2.4-2.5z',
);
export const FullIcon = icon('M4 4h6.5v2H6v4.5H4zM13.5 4H20v6.5h-2V6h-4.5zM4 13.5h2V18h4.5v2H4zM18 13.5h2V20h-6.5v-2H18z');
export const UnfullIcon = icon('M8.5 4h2v6.5H4v-2h4.5zM13.5 4h2v4.5H20v2h-6.5zM4 13.5h6.5V20h-2v-4.5H4zM13.5 13.5H20v2h-4.5V20h-2z');
export const PipIcon = icon('M3 5h18v14h-7v-2h5V7H5v6H3zM3 15h9v4H3z');
export const CopyIcon = icon('M8 3h12v13h-4v5H4V8h4zm2 5h6v6h2V5h-8zM6 10v9h8v-9z');
export const DownIcon = icon('M11 3h2v9.2l3.3-3.3 1.4 1.4L12 16l-5.7-5.7 1.4-1.4 3.3 3.3zM4 19h16v2H4z');
export const CheckIcon = icon('M9.5 18.2 3.6 12.3l1.5-1.5 4.4 4.4L19 5.7l1.5 1.5z');
export const SendIcon = icon('M11 16V6.8L7.7 10.1 6.3 8.7 12 3l5.7 5.7-1.4 1.4L13 6.8V16zM4 13h2v6h12v-6h2v8H4z');
