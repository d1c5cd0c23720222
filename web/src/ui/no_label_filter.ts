/** Stands in for the label filter of @grafana/ui's legends at build time: charts here do not offer it. */
export function FacetedLabelsFilter(): null {
  return null;
}
