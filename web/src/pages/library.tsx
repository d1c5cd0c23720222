/** The page of the library of panels. */
import { useStyles2 } from '../ui';
import { getStyles } from './folder_parts';
import { useFolderTexts } from './folder_texts';
import { LibraryList } from './library_list';
import { Shell } from './shell';

export default function LibraryPage() {
  const text = useFolderTexts();
  const styles = useStyles2(getStyles);
  return (
    <Shell crumbs={[{ text: text('home'), to: '/' }, { text: text('boards'), to: '/dashboards' }, { text: text('library') }]}>
      <div className={styles.page}>
        <h1>{text('library')}</h1>
        <LibraryList />
      </div>
    </Shell>
  );
}
