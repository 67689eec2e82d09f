package names

import "github.com/vatwork/vatwork/transport"

func (n told) encode(to News) error {
	to.SetEpoch(n.epoch)
	to.SetVersion(n.version)
	to.SetComplete(n.complete)
	list, err := to.NewEntries(int32(len(n.records)))
	if err != nil {
		return err
	}
	for i, r := range n.records {
		if err := r.encode(list.At(i)); err != nil {
			return err
		}
	}
	return nil
}

// decodeNews reads what a member says of the names that it holds. Which member that is, its session has proven: what
// it says of the holder does not count.
func decodeNews(news News, from transport.VatID) (told, error) {
	n := told{epoch: news.Epoch(), version: news.Version(), complete: news.Complete()}
	list, err := news.Entries()
	if err != nil {
		return told{}, err
	}
	if list.Len() > 2*MaxNames {
		return told{}, failed("news of %d names: at most %d are allowed", list.Len(), 2*MaxNames)
	}
	for i := range list.Len() {
		r, err := decode(list.At(i), from)
		if err != nil {
			return told{}, err
		}
		n.records = append(n.records, r)
	}
	return n, nil
}
