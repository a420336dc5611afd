package sessions

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// settling is how long a new key waits in the ring before it seals. Replicas reload the ring once a minute,
// so one of them would have to miss the store for all of this time to meet a key it does not know.
const settling = time.Hour

const ringVersion = 1

// ringRecord is the ring as it lies in the store, newest key first. It is the one record that is not sealed:
// who gives no key of their own keeps this one where the store keeps it.
type ringRecord struct {
	Version int             `json:"version"`
	Keys    []ringRecordKey `json:"keys"`
}

type ringRecordKey struct {
	ID        []byte    `json:"id"`
	Secret    []byte    `json:"secret"`
	NotBefore time.Time `json:"not_before"`
}

// parseRing reads a ring record. Anything unexpected is an error, since the alternative would be to
// replace keys that other replicas, perhaps newer ones, still use.
func parseRing(value []byte) (ringRecord, error) {
	var rec ringRecord
	// The decoder's own error is left out, because it may quote the input.
	if json.Unmarshal(value, &rec) != nil {
		return ringRecord{}, errors.New("the key ring in the store is malformed")
	}
	if rec.Version != ringVersion {
		return ringRecord{}, fmt.Errorf("the key ring in the store has layout version %d; this release reads %d", rec.Version, ringVersion)
	}
	if len(rec.Keys) == 0 {
		return ringRecord{}, errors.New("the key ring in the store is empty")
	}
	for i, k := range rec.Keys {
		if len(k.ID) != keyIDSize || checkSecret(k.Secret) != nil {
			return ringRecord{}, fmt.Errorf("key %d of the key ring in the store is malformed", i+1)
		}
	}
	return rec, nil
}

// advance returns the ring as it should be at now, and whether that differs from rec: with a first key,
// with a successor to a key that has served its time, without keys whose retention is over.
func (rec ringRecord) advance(now time.Time, rotation, retention time.Duration) (ringRecord, bool) {
	if len(rec.Keys) == 0 {
		return ringRecord{Version: ringVersion, Keys: []ringRecordKey{rec.newKey(now)}}, true
	}
	keys := slices.Clone(rec.Keys)
	// A key retires when its successor starts to seal.
	keep := 1
	for keep < len(keys) && now.Before(keys[keep-1].NotBefore.Add(retention)) {
		keep++
	}
	changed := keep < len(keys)
	keys = keys[:keep]
	if due := keys[0].NotBefore.Add(rotation); !now.Before(due) {
		keys = slices.Insert(keys, 0, rec.newKey(now.Add(min(settling, rotation/2))))
		changed = true
	}
	return ringRecord{Version: ringVersion, Keys: keys}, changed
}

func (rec ringRecord) newKey(notBefore time.Time) ringRecordKey {
	k := ringRecordKey{ID: make([]byte, keyIDSize), Secret: make([]byte, secretSize), NotBefore: notBefore.UTC()}
	_, _ = rand.Read(k.Secret)
	for {
		_, _ = rand.Read(k.ID)
		if !slices.ContainsFunc(rec.Keys, func(other ringRecordKey) bool { return string(other.ID) == string(k.ID) }) {
			return k
		}
	}
}

func (rec ringRecord) keyset(now time.Time) (*keyset, error) {
	set := &keyset{loaded: now}
	for _, k := range rec.Keys {
		key, err := newRingKey(keyID(k.ID), k.Secret, k.NotBefore)
		if err != nil {
			return nil, err
		}
		set.keys = append(set.keys, key)
	}
	return set, nil
}
