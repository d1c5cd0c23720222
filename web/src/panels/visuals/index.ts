/** What other pages draw with. A board takes its visualisations from ../registry, one script each. */
export { Sentence } from './sentence';
export { default as TimeSeriesVisual, MAX_SERIES } from './time_series';
export { legendOptions, noValueText, tooltipOptions, type VisualProps } from './types';
