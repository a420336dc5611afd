package identity

import "strings"

// Roster is a provider whose people stand in the configuration. Nobody has to be asked about them:
// whoever is taken out of it has left.
type Roster interface {
	Provider

	// People returns the issuer of their identity, and everybody.
	People() (issuer string, people []User)
}

// Person is somebody whom the configuration names.
type Person struct {
	User
	// JoinedGroups is Groups, separated by commas.
	JoinedGroups string
}

// People knows, by issuer and subject, everybody whom the configuration names. A nil one knows nobody. It is
// safe for concurrent use.
type People map[string]map[string]*Person

// PeopleOf gathers the people of all providers that are a [Roster].
func PeopleOf(providers []Provider) People {
	var all People
	for _, p := range providers {
		roster, ok := p.(Roster)
		if !ok {
			continue
		}
		if all == nil {
			all = make(People)
		}
		issuer, people := roster.People()
		if all[issuer] == nil {
			all[issuer] = make(map[string]*Person, len(people))
		}
		for _, u := range people {
			if all[issuer][u.Subject] == nil {
				all[issuer][u.Subject] = &Person{User: u, JoinedGroups: strings.Join(u.Groups, ",")}
			}
		}
	}
	return all
}

// Find returns a person as the configuration has them now. It returns nil for one of another issuer, and
// then gone is false; gone means that they are in the configuration no more.
func (p People) Find(issuer, subject string) (person *Person, gone bool) {
	people, ours := p[issuer]
	if !ours {
		return nil, false
	}
	person = people[subject]
	return person, person == nil
}
