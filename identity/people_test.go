package identity

import (
	"reflect"
	"testing"
)

func TestPeopleOfTheConfiguration(t *testing.T) {
	const hash = "$2a$04$O9HJpFTcqDZYbZ8jQ0yfDuyyGJnWKnMVKCBfzvXs2ncrFZoo1TRXq"
	local := func(id string, users ...LocalUser) Provider {
		l, err := NewLocal(id, "", "local", users)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	people := PeopleOf([]Provider{
		local("a", LocalUser{Email: "ann@example.com", Hash: hash, Name: "Ann", Groups: []string{"x", "y"}}),
		local("b", LocalUser{Email: "bob@example.com", Hash: hash}),
	})
	ann, gone := people.Find("local", localSubject("ann@example.com"))
	if gone || ann == nil || ann.Email != "ann@example.com" || ann.Name != "Ann" || ann.JoinedGroups != "x,y" || !reflect.DeepEqual(ann.Groups, []string{"x", "y"}) {
		t.Errorf("ann: %+v, gone %t", ann, gone)
	}
	if bob, gone := people.Find("local", localSubject("bob@example.com")); gone || bob == nil {
		t.Errorf("bob, of another provider: %+v, gone %t", bob, gone)
	}
	if carol, gone := people.Find("local", localSubject("carol@example.com")); !gone || carol != nil {
		t.Errorf("somebody who was taken out: %+v, gone %t", carol, gone)
	}
	if other, gone := people.Find("https://idp.example.com", localSubject("ann@example.com")); gone || other != nil {
		t.Errorf("somebody of another issuer: %+v, gone %t", other, gone)
	}
	if other, gone := PeopleOf(nil).Find("local", "x"); gone || other != nil {
		t.Errorf("without such providers: %+v, gone %t", other, gone)
	}
}
