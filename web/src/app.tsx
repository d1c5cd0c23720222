/** Routes, and the gate that sends people without a session to the sign-in page. */
import { lazy, Suspense, useEffect, useMemo, useState, type ReactNode } from 'react';
import { BrowserRouter, Navigate, Route, Routes, useLocation, useNavigate, useParams } from 'react-router';
import { fetchUser } from './data/api';
import { basename } from './data/base';
import { ApiError, setSignedOutHandler } from './data/http';
import { SessionContext, type Session } from './pages/session';
import { Shell } from './pages/shell';
import { Alert, EmptyState, ErrorBoundaryAlert, I18nProvider, LoadingPlaceholder, ThemeProvider, useT } from './ui';
import { useLoad } from './ui/hooks';

const SignInPage = lazy(() => import('./people/signin'));
const AcceptPage = lazy(() => import('./people/accept').then((m) => ({ default: m.AcceptPage })));
const VerifyPage = lazy(() => import('./people/accept').then((m) => ({ default: m.VerifyPage })));
const ProfilePage = lazy(() => import('./people/profile'));
const PeoplePage = lazy(() => import('./people/people'));
const AdminPage = lazy(() => import('./admin/admin'));
const WorkspacesPage = lazy(() => import('./people/workspaces'));
const WorkspacePage = lazy(() => import('./people/workspace'));
const NoAccessPage = lazy(() => import('./people/noaccess'));
const DataSourcesPage = lazy(() => import('./people/datasources'));
const NewDataSourcePage = lazy(() => import('./people/datasources').then((m) => ({ default: m.NewDataSourcePage })));
const DataSourcePage = lazy(() => import('./people/datasource'));
const HomePage = lazy(() => import('./pages/home'));
const BoardsPage = lazy(() => import('./pages/boards'));
const FoldersPage = lazy(() => import('./pages/folders'));
const FolderPage = lazy(() => import('./pages/folders').then((m) => ({ default: m.FolderPage })));
const BoardPermissionsPage = lazy(() => import('./pages/permissions'));
const LibraryPage = lazy(() => import('./pages/library'));
const BoardPage = lazy(() => import('./pages/board'));
const ImportPage = lazy(() => import('./pages/import_board'));
const AlertsPage = lazy(() => import('./pages/alerts'));
const ExplorePage = lazy(() => import('./pages/explore'));

export function App() {
  return (
    <I18nProvider>
      <ThemeProvider>
        <ErrorBoundaryAlert style="page">
          <BrowserRouter basename={basename}>
            <Suspense fallback={null}>
              <Routes>
                <Route path="/login" element={<SignInPage />} />
                <Route path="/accept" element={<AcceptPage />} />
                <Route path="/verify" element={<VerifyPage />} />
                <Route path="*" element={<SignedIn />} />
              </Routes>
            </Suspense>
          </BrowserRouter>
        </ErrorBoundaryAlert>
      </ThemeProvider>
    </I18nProvider>
  );
}

function SignedIn() {
  return (
    <Gate>
      <Suspense fallback={<Loading />}>
        <Routes>
          <Route path="/" element={<HomePage />} />
          <Route path="/dashboards" element={<BoardsPage />} />
          <Route path="/dashboards/folders" element={<FoldersPage />} />
          <Route path="/dashboards/f/:uid/:slug?" element={<FolderPage />} />
          <Route path="/dashboard/permissions/:uid" element={<BoardPermissionsPage />} />
          <Route path="/library-panels" element={<LibraryPage />} />
          <Route path="/dashboard/new" element={<BoardPage />} />
          <Route path="/dashboard/import" element={<ImportPage />} />
          <Route path="/explore" element={<ExplorePage />} />
          <Route path="/alerts" element={<AlertsPage />} />
          <Route path="/account" element={<ProfilePage />} />
          <Route path="/people" element={<PeoplePage />} />
          <Route path="/admin/:section?" element={<AdminPage />} />
          <Route path="/workspaces" element={<WorkspacesPage />} />
          <Route path="/workspaces/:id" element={<WorkspacePage />} />
          <Route path="/datasources" element={<DataSourcesPage />} />
          <Route path="/datasources/new" element={<NewDataSourcePage />} />
          <Route path="/datasources/edit/:uid" element={<DataSourcePage />} />
          <Route path="/d/:uid/:slug?" element={<BoardPage />} />
          <Route path="/d-solo/:uid/:slug?" element={<Solo />} />
          <Route path="*" element={<NotFound />} />
        </Routes>
      </Suspense>
    </Gate>
  );
}

/** Gate asks who is signed in before it shows anything, and leaves for the sign-in page with the wanted address when nobody is. */
function Gate({ children }: { children: ReactNode }) {
  const t = useT();
  const user = useLoad('user', fetchUser);
  const location = useLocation();
  const navigate = useNavigate();
  const [signedOut, setSignedOut] = useState(false);
  const wanted = location.pathname + location.search;
  useEffect(() => {
    setSignedOutHandler(() => setSignedOut(true));
    return () => setSignedOutHandler(() => undefined);
  }, []);
  const session = useMemo<Session | null>(
    () => (user.value ? { user: user.value, onSignedOut: () => void navigate('/login', { replace: true }) } : null),
    [user.value, navigate]
  );
  if (signedOut || (user.error instanceof ApiError && user.error.status === 401)) {
    return <Navigate to={`/login?redirectTo=${encodeURIComponent(wanted)}`} replace />;
  }
  if (user.error instanceof ApiError && user.error.type === 'no-access') {
    return (
      <Suspense fallback={<Loading />}>
        <NoAccessPage />
      </Suspense>
    );
  }
  if (session) {
    return <SessionContext.Provider value={session}>{children}</SessionContext.Provider>;
  }
  if (user.error && !user.loading) {
    return (
      <Alert severity="error" title={user.error.message} buttonContent={t('common.retry')} onRemove={user.reload} />
    );
  }
  return <Loading />;
}

/** Solo is Grafana's address of one panel alone. */
function Solo() {
  const { uid = '' } = useParams();
  const params = new URLSearchParams(useLocation().search);
  params.set('viewPanel', (params.get('panelId') ?? '').replace('panel-', ''));
  params.delete('panelId');
  params.set('kiosk', '');
  return <Navigate to={`/d/${uid}?${params}`} replace />;
}

function Loading() {
  return <LoadingPlaceholder text={useT()('common.loading')} />;
}

function NotFound() {
  const t = useT();
  return (
    <Shell crumbs={[{ text: t('nav.home'), to: '/' }, { text: '404' }]}>
      <EmptyState variant="not-found" hideImage message={t('common.notFound')} />
    </Shell>
  );
}
