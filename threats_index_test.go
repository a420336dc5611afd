package mcpauth

import (
	"maps"
	"slices"
	"testing"
)

// threats lists what the edge is built to withstand in front of a resource: by number what somebody tries,
// and the tests that show it fail. HD is headers, PA paths, methods and upgrades, CO origins, SE sessions and
// streams, DO exhaustion, LO logs, BF bearer tokens and guessing,
// CF mistakes of whoever configures it, UT credentials of people for upstreams.
var threats = map[string]struct {
	attack string
	tests  []string
}{
	"HD-01": {"a client sends the identity header itself", []string{
		"TestServeRemovesWhatAClientMayNotSay", "TestForgedIdentityIsRemovedOutsideOfResources", "TestNobodyCanSayWhoTheyAre"}},
	"HD-02": {"in a spelling that the upstream folds", []string{"TestServeRemovesWhatAClientMayNotSay", "FuzzClean", "TestNobodyCanSayWhoTheyAre"}},
	"HD-03": {"Connection names a header that the edge sets", []string{"TestServeReducesConnection", "FuzzConnection", "TestNobodyCanSayWhoTheyAre"}},
	"HD-04": {"Connection names a header that the edge checks", []string{"TestServeReducesConnection"}},
	"HD-05": {"identity in a trailer", []string{"TestTrailersDoNotReachTheUpstream", "TestNobodyCanSayWhoTheyAre"}},
	"HD-06": {"identity headers of other products", []string{"TestServeRemovesWhatAClientMayNotSay", "TestNobodyCanSayWhoTheyAre"}},
	"HD-08": {"headers that replace URL or method", []string{"TestHeadersThatReplaceTheRequestDecideNothing", "TestServeRemovesWhatAClientMayNotSay"}},
	"HD-09": {"control characters in a header", []string{"TestHeadersThatNoClientSends", "TestCheckMessage"}},
	"HD-10": {"hop-by-hop headers and Proxy", []string{"TestHeadersThatNoClientSends", "TestServeRemovesWhatAClientMayNotSay"}},
	"HD-11": {"an address written by the client", []string{"TestTheNetworkOfAClientIsTheOneThatCaddySees", "TestProxiesOfEverybodyAreRefused"}},
	"HD-12": {"an address in another form", []string{"TestNetworks", "FuzzAdmits", "TestAddressKey"}},
	"HD-13": {"a claim that ends its header or is expanded", []string{
		"TestHeaderValue", "FuzzHeaderValue", "TestServeSetsTheIdentity", "TestWhatAProviderSaysIsNeverExpanded"}},

	"PA-01": {"another spelling of a guarded path", []string{
		"TestPathsMatch", "FuzzPathsMatch", "TestAmbiguous", "FuzzAmbiguous", "TestTargetsWithTwoReadingsDoNotPass"}},
	"PA-02": {"another authority in the target", []string{"TestCheckTarget", "TestTargetsWithTwoReadingsDoNotPass", "TestTheEdgeIsNoOpenProxy"}},
	"PA-03": {"a method that is exempt", []string{"TestNothingIsLetInForItsMethodOrItsProgram"}},
	"PA-04": {"a preflight that reaches the upstream", []string{"TestPreflightsAreAnsweredAtTheEdge", "TestAPageNeedsToBeAllowed"}},
	"PA-05": {"several hosts, or none", []string{"TestCheckTarget", "TestTargetsWithTwoReadingsDoNotPass"}},
	"PA-06": {"an upgrade past the token", []string{
		"TestNeitherASessionNorAnUpgradeStandsForAToken", "TestMessagesThatWouldBeReadTwoWays", "TestUpgradesWhereTheyAreAllowed", "TestUpgradedConnectionsEnd"}},
	"PA-07": {"Expect and Range before the token", []string{"TestNothingHappensBeforeTheTokenIsChecked", "TestNobodyWaitsForABodyThatIsNotWanted"}},
	"PA-08": {"pseudo-headers of HTTP/2", []string{"TestPseudoHeadersWithTwoReadingsDoNotPass"}},
	"PA-09": {"a path that leaves its resource with a token", []string{"TestProtect", "TestTargetsWithTwoReadingsDoNotPass", "TestARewriteBeforeTheGuardChangesNoResource"}},
	"PA-11": {"something answers before the guard, or in its place", []string{
		"TestNothingAnswersBeforeTheGuard", "TestNoMatcherHidesTheEndpoints", "TestTheResourceIsTheOneAskedFor", "TestARewriteBeforeTheGuardChangesNoResource"}},
	"PA-12": {"a replay of early data", []string{"TestWhatCanBeReplayedIsNotDone", "TestMessagesThatWouldBeReadTwoWays", "TestEarlyDataIsRefused"}},

	"CO-01": {"a page that uses what the browser adds", []string{"TestPreflight", "TestWhatTheUpstreamSaysToPagesGivesWay", "TestPagesThatMayUseAResource"}},
	"CO-02": {"a page that reads the pages of people", []string{"TestPagesOfPeopleAreForNoScript"}},
	"CO-03": {"a page that uses the server of somebody else", []string{"TestOrigins", "FuzzOrigins", "TestAPageNeedsToBeAllowed", "TestPagesThatMayUseAResource"}},
	"CO-04": {"a cached answer for another page", []string{"TestWhatTheUpstreamSaysToPagesGivesWay", "TestPagesThatMayUseAResource"}},
	"CO-05": {"a client in a browser that cannot find out how to sign in", []string{"TestScriptsMayAskBeforeTheyHaveAToken", "TestScriptsMayReadWhyTheyAreRefused"}},

	"SE-01": {"a stolen session, to read", []string{"TestSessionsOpenForTheirOwnerOnly", "TestAForeignSessionLooksLikeOneThatNeverWas", "TestAStolenSessionIsAnUnknownOne"}},
	"SE-02": {"a stolen session, to write", []string{"TestSessionsOpenForTheirOwnerOnly", "TestAForeignSessionLooksLikeOneThatNeverWas", "TestAStolenSessionIsAnUnknownOne"}},
	"SE-03": {"a stolen session, to end it", []string{"TestAForeignSessionLooksLikeOneThatNeverWas", "TestAStolenSessionIsAnUnknownOne"}},
	"SE-05": {"a session as a credential", []string{"TestNeitherASessionNorAnUpgradeStandsForAToken"}},
	"SE-06": {"a session of the older transport, found in a URL", []string{
		"TestEndpointGetsATag", "TestMessagesWithoutATag", "TestNobodyReadsAStreamByItsURLAlone", "TestSessionsThatArePartOfThePath", "FuzzQueries", "FuzzEndpointEvent"}},
	"SE-07": {"a stream that outlives the permission", []string{
		"TestStreamsEnd", "TestRevokedIsAskedAgain", "TestRevocationBeforeTheAnswerIsNotLost", "TestWhetherACallerIsAdmittedIsAskedAgain",
		"TestStreamsAreHeldToTheConfigurationInForce", "TestAReloadEndsTheStreamsOfWhomItShutsOut", "TestNoStreamOpensOnceAllAreClosed"}},
	"SE-08": {"an answer to somebody else", []string{"TestAnswersOfTwoPeopleAreNeverCrossed", "TestTwoPeoplesCredentialsAreNeverCrossed"}},

	"DO-01": {"long headers", []string{"TestHeadersAreBounded", "TestBearer"}},
	"DO-02": {"long bodies", []string{"TestMachineEndpointsAnswerBadInputWithJSON", "TestTheLengthOfAMessage", "TestLimitsOfWhatOneAddressMaySend"}},
	"DO-03": {"slow headers", []string{"TestTheExampleAdaptsAndIsFormatted"}},
	"DO-04": {"slow bodies", []string{"TestABodyThatTakesTooLongIsRefused", "TestABodyThatNobodyReadsIsBoundToo", "TestSlowBodiesAreBoundAtEveryEndpoint"}},
	"DO-05": {"more parameters and longer ones than any client has", []string{"TestRequestsFarBeyondAnyClientAreRefused"}},
	"DO-06": {"sign-ins that nobody finishes", []string{"TestSignInsThatNobodyFinishesAreLimitedPerAddress", "TestElevenSignInsAtATime"}},
	"DO-08": {"more streams and questions than there is room for", []string{
		"TestLimitsOfStreams", "TestAStreamThatNobodyAnnouncedIsRefusedToo", "TestRoomIsGivenBack", "TestLimitsAreOffWithZero",
		"TestHoweverAStreamEndsEverythingIsReleased", "TestFinishIsBoundedInNumber", "TestFetchWhileTooManyOthersDo"}},

	"LO-01": {"codes and states in the access log", []string{"TestCodesStayOutOfTheAccessLog", "TestCodesStayOutOfTheLogsWhereTheyAreRefused", "TestTheCallbackIsKeptOutOfTheAccessLog"}},
	"LO-02": {"secrets in the log at debug level", []string{"TestTheLogNamesPeopleAndHoldsNoSecret", "TestNothingOfADeviceCodeIsLogged", "TestErrorsAboutSecretsShowPlaceholdersOnly"}},
	"LO-03": {"text that forges a line of the log", []string{"TestWhatStrangersChooseStaysInItsField"}},

	"BF-01": {"two tokens, or one in a form of its own", []string{"TestBearer", "FuzzBearer", "TestProtect"}},
	"BF-02": {"a token that is none, or too long", []string{"TestBearer", "FuzzBearer", "TestHeadersAreBounded"}},
	"BF-03": {"a token in another place", []string{"TestATokenCountsInItsHeaderOnly", "TestTokenInQuery", "FuzzQueries"}},
	"BF-04": {"finding out a service token by time", []string{"TestServiceTokens"}},
	"BF-05": {"a service token that is weak, or for something else", []string{"TestHashServiceToken", "TestParseServiceTokenHash", "TestServiceTokens", "TestNewServiceTokensRefuses"}},
	"BF-06": {"guessing, and locking others out by it", []string{"TestBadTokensAreThrottledAndOthersAreNot", "TestLimitsOfWhatOneAddressMaySend"}},
	"BF-07": {"a client that is not told how to go on", []string{"TestChallenge", "TestProtect"}},
	"BF-08": {"a program that is exempt", []string{"TestNothingIsLetInForItsMethodOrItsProgram"}},

	"CF-01": {"an issuer without TLS, or none that could be told", []string{"TestAdapt", "TestCheckIssuer", "TestASiteWithoutTLSNeedsItsIssuer"}},
	"CF-02": {"an allow-list that is empty", []string{"TestConfigurationsThatDoNotStart", "TestValidateJSON"}},
	"CF-03": {"a rule that lets strangers in", []string{"TestNewPolicyRefuses", "TestPublicDomains", "TestRulesThatLetStrangersInAreWarnedOf"}},
	"CF-04": {"a secret that is short, not set, or written down", []string{"TestValidate", "TestErrorsAboutSecretsShowPlaceholdersOnly", "TestAdapt"}},
	"CF-05": {"a provider without TLS, or that is another one", []string{"TestValidate", "TestDiscoveryRefuses"}},
	"CF-06": {"resources that overlap", []string{"TestAdapt"}},
	"CF-07": {"origins that let in more than was meant", []string{"TestAdapt", "TestOrigins"}},
	"CF-08": {"proxies that are everybody", []string{"TestProxiesOfEverybodyAreRefused"}},
	"CF-09": {"an identity header with another meaning", []string{"TestAdapt", "TestValidateCredentials"}},
	"CF-11": {"an option that does not exist", []string{"TestAdapt", "TestValidateJSON", "TestTheListOfOptionsHasEveryOneThatIsParsed"}},
	"CF-12": {"an exception for development on a public site", []string{"TestValidate", "TestDevelopmentModeAnswersOnThisComputerOnly"}},
	"CF-13": {"lifetimes out of bounds", []string{"TestAdapt"}},

	"UT-01": {"an account that somebody else connects", []string{
		"TestACallbackCountsForWhoBeganItOnly", "TestACallbackInAnotherBrowserOrForAnotherPersonIsRefused", "TestACallbackIsTakenOnce"}},
	"UT-02": {"a credential that goes elsewhere", []string{
		"TestACredentialGoesToItsResourceForItsPersonOnly", "TestAPersonsCredentialReachesItsUpstreamAndNoOther", "TestACredentialFollowsNoRedirect"}},
	"UT-03": {"refreshing twice", []string{"TestARefreshHappensOnceForAllReplicas", "TestAClaimThatWasNotFollowedUp"}},
	"UT-04": {"a refusal of the upstream that looks like ours", []string{
		"TestAnExpiredTokenIsRefreshedOnceAndTheRequestSentAgain", "TestA403OfTheUpstreamIsPassedOnWithoutItsChallenge", "TestARefusalThatARefreshDoesNotMend"}},
	"UT-05": {"a credential that lives on after it was taken back", []string{"TestRemovingRevokesThere", "TestDisconnectingWhileARefreshIsUnderWay"}},
	"UT-06": {"a credential of somebody who has left", []string{"TestSomebodyWhoHasLeftCannotUseTheirCredential", "TestACredentialThatNobodyUsesEnds"}},
	"UT-07": {"a program that gets somebody's credential", []string{"TestMachinesAndServiceTokensGetNobodysCredential", "TestACallerInItsOwnNameGetsNobodysCredential"}},
	"UT-08": {"an answer of another authorization server", []string{
		"TestEachServerHasACallbackOfItsOwn", "TestAnswersThatDoNotPass", "TestWhatOneAuthorizationServerIssuedIsNotShownToAnother"}},
}

// Each threat has tests that exist. One that is renamed or deleted shows here.
func TestEveryThreatHasATest(t *testing.T) {
	declared := declaredTests(t)
	if len(threats) != 73 {
		t.Errorf("%d threats are listed, not 73: the list only grows", len(threats))
	}
	for _, id := range slices.Sorted(maps.Keys(threats)) {
		threat := threats[id]
		if threat.attack == "" || len(threat.tests) == 0 {
			t.Errorf("%s has no test", id)
		}
		for _, name := range threat.tests {
			if !declared[name] {
				t.Errorf("%s, %s: there is no test %s", id, threat.attack, name)
			}
		}
	}
}
