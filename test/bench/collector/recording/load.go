package recording

import (
	"fmt"
	"io/fs"
)

// Load reads the recordings of some jobs from files named JOB.rec.zst.
func Load(files fs.FS, jobs []string) (map[string]*Recording, error) {
	all := map[string]*Recording{}
	for _, job := range jobs {
		f, err := files.Open(job + ".rec.zst")
		if err != nil {
			return nil, err
		}
		rec, err := Read(f)
		_ = f.Close() // only read
		if err != nil {
			return nil, fmt.Errorf("%s.rec.zst: %w", job, err)
		}
		all[job] = rec
	}
	return all, nil
}
