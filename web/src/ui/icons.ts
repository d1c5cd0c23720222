/** Puts the icons this UI shows into the icon cache of @grafana/ui, so that none of them costs a request. */
import { cacheStore } from 'react-inlinesvg';

const used = import.meta.glob<string>(
  '../../node_modules/@grafana/ui/dist/public/img/icons/unicons/{angle-down,angle-left,angle-right,angle-up,angle-double-down,angle-double-right,apps,arrow-down,arrow-left,arrow-up,bars,bell,camera,bolt,book,bug,calendar-alt,check,check-circle,circle,clock-nine,cloud,code-branch,cog,compass,copy,corner-up-left,corner-up-right,cube,database,document-info,download-alt,draggabledots,ellipsis-v,exclamation-circle,exclamation-triangle,external-link-alt,eye,eye-slash,file-alt,file-copy-alt,filter,folder,graph-bar,history,home-alt,info-circle,key-skeleton-alt,keyboard,kubernetes,layer-group,link,list-ul,minus,monitor,palette,pen,play,plus,save,question-circle,search,search-minus,search-plus,share-alt,signin,sitemap,signout,sort-amount-down,star,sync,table,tag-alt,times,trash-alt,user,users-alt}.svg',
  { query: '?raw', import: 'default', eager: true }
);

/** Two icons @grafana/ui asks for but does not ship. */
const MISSING: Record<string, string> = {
  'spinner.svg':
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path d="M12 2a10 10 0 1 0 10 10h-2.500A7.500 7.500 0 1 1 12 4.500z"/></svg>',
  'angle-double-left.svg': '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path d="M12.4 16.3 8.1 12l4.3-4.3L11 6.300l-5.700 5.700L11 17.700zM18.400 16.300 14.100 12l4.300-4.300L17 6.300l-5.700 5.700 5.700 5.700z"/></svg>',
};

/** seedIcons must run before the first icon is drawn. */
export function seedIcons(): void {
  (window as { __grafana_public_path__?: string }).__grafana_public_path__ = '/public/';
  for (const [path, content] of Object.entries({ ...used, ...MISSING })) {
    const name = path.slice(path.lastIndexOf('/') + 1);
    cacheStore.set(`/public/build/img/icons/unicons/${name}`, { content, status: 'loaded' });
  }
}
