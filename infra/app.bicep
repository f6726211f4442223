// The function app on Flex Consumption, and every app setting that it runs with.

param location string
param tags object
param token string

@description('The identity that the app is, everywhere in Azure.')
param identityId string
param identityClientId string

param insightsConnectionString string

@description('The part of the traces that is kept, 0 to 1.')
param tracesKept string
param serviceBusHost string

@description('Names of the queues by the setting that names them.')
param queueSettings object

@description('The storage account\'s endpoints: blob and table are used.')
param storageEndpoints object
param packageContainer string
param vaultUri string

@description('The subnet that the app calls from. Empty: from the internet.')
param subnetId string

param dataverseUrl string
param dataverseAuth string
param marketoUrl string
param marketoClientId string

@description('Whether the vault has the address that is told of the end of a long run.')
param notify bool

@description('Client id of the app registration that people sign in to the console with. Empty: the app serves no console.')
param consoleClientId string

@description('The settings that have a default, by name.')
param settings object

param pythonVersion string
param instanceMemoryMB int

// Flex Consumption scales each Service Bus function by itself, up to this count each. It cannot break a limit of
// Marketo's: an entity's queue has one session, so of its function one instance works and the others find nothing, and
// the five share one budget in Table Storage (MARKETO_CALLS_PER_20_SECONDS, MARKETO_CONCURRENCY), whatever their number.
// Only route_changes can use more than one. It is 32 notifications a batch and, measured, 1.5 ms of CPU for each
// (docs/figures.md): one instance takes some 20,000 in 30 s of its CPU, so 40, the least that older API versions take,
// is never reached. In all at most 40 + 5 + 1 (timer) + HTTP instances, and in a quiet hour none.
param maximumInstanceCount int

@description('Instances that are kept ready, as function=count with commas; http is the group of the webhook.')
param alwaysReady string

// Flex Consumption knows groups (http, durable, blob) and single functions, function:<name>.
var ready = map(filter(split(alwaysReady, ','), pair => contains(pair, '=')), pair => {
  name: trim(split(pair, '=')[0]) == 'http' ? 'http' : 'function:${trim(split(pair, '=')[0])}'
  instanceCount: int(trim(split(pair, '=')[1]))
})

// What each way of signing in to Dynamics keeps in the Key Vault: setting and name of the secret.
var dataverseSecrets = {
  client_secret: { DATAVERSE_CLIENT_SECRET: 'dataverse-client-secret' }
  password: { DATAVERSE_CLIENT_SECRET: 'dataverse-client-secret', DATAVERSE_PASSWORD: 'dataverse-password' }
  certificate: { DATAVERSE_CLIENT_CERTIFICATE: 'dataverse-client-certificate' }
  managed_identity: {}
}
var notifySecrets = notify ? { NOTIFY_URL: 'notify-url' } : {}
var secrets = union({ MARKETO_CLIENT_SECRET: 'marketo-client-secret' }, dataverseSecrets[dataverseAuth], notifySecrets)
var references = toObject(
  items(secrets),
  secret => secret.key,
  secret => '@Microsoft.KeyVault(SecretUri=${vaultUri}secrets/${secret.value})'
)

// Connections by identity: the names that the host and shared/config/settings.py read.
var connections = {
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
  AzureWebJobsStorage__blobServiceUri: storageEndpoints.blob
  AzureWebJobsStorage__tableServiceUri: storageEndpoints.table
  ServiceBusConnection__credential: 'managedidentity'
  ServiceBusConnection__clientId: identityClientId
  ServiceBusConnection__fullyQualifiedNamespace: serviceBusHost
  APPLICATIONINSIGHTS_CONNECTION_STRING: insightsConnectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
  AZURE_CLIENT_ID: identityClientId
}

// What the app tells Application Insights; docs/operations.md says what it costs. The worker's own exporter stays off.
var telemetry = {
  PYTHON_ENABLE_OPENTELEMETRY: 'true'
  OTEL_TRACES_SAMPLER: 'microsoft.fixed_percentage'
  OTEL_TRACES_SAMPLER_ARG: tracesKept
}

// The console behind Entra (docs/console.md). One parameter turns on both, for neither is right without the other: the
// function serve_console is anonymous to the host, and lets in whom App Service Authentication has signed in.
var console = { CONSOLE: empty(consoleClientId) ? 'off' : 'entra' }
var authentication = {
  name: 'authsettingsV2'
  properties: {
    platform: { enabled: true }
    globalValidation: {
      requireAuthentication: true
      unauthenticatedClientAction: 'RedirectToLoginPage'
      redirectToProvider: 'azureactivedirectory'
      // Dynamics signs in with a function key, which the host checks.
      excludedPaths: ['/api/receive_webhook']
    }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        // Without a secret: sign-in takes an id token, which the registration must be allowed to issue.
        registration: {
          clientId: consoleClientId
          openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
        }
        validation: { allowedAudiences: [consoleClientId] }
      }
    }
    login: { tokenStore: { enabled: false } }
    httpSettings: { requireHttps: true }
  }
}

var vendors = {
  DATAVERSE_URL: dataverseUrl
  DATAVERSE_AUTH: dataverseAuth
  DATAVERSE_CLIENT_ID: dataverseAuth == 'managed_identity' ? identityClientId : settings.DATAVERSE_CLIENT_ID
  MARKETO_URL: marketoUrl
  MARKETO_CLIENT_ID: marketoClientId
}

var appSettings = {
  name: 'appsettings'
  properties: union(settings, queueSettings, connections, telemetry, vendors, console, references)
}

module plan 'br/public:avm/res/web/serverfarm:0.7.0' = {
  name: 'plan'
  params: {
    name: 'plan-msisync-${token}'
    location: location
    tags: tags
    skuName: 'FC1'
    reserved: true
    enableTelemetry: false
  }
}

module site 'br/public:avm/res/web/site:0.24.0' = {
  name: 'site'
  params: {
    name: 'func-msisync-${token}'
    location: location
    // How azd finds where to deploy the service of azure.yaml.
    tags: union(tags, { 'azd-service-name': 'msisync' })
    kind: 'functionapp,linux'
    serverFarmResourceId: plan.outputs.resourceId
    managedIdentities: { userAssignedResourceIds: [identityId] }
    keyVaultAccessIdentityResourceId: identityId
    virtualNetworkSubnetResourceId: empty(subnetId) ? null : subnetId
    httpsOnly: true
    clientAffinityEnabled: false
    // For deployments; for Dynamics' webhook where that is registered, which needs a function key; for the console.
    publicNetworkAccess: 'Enabled'
    basicPublishingCredentialsPolicies: [{ name: 'ftp', allow: false }, { name: 'scm', allow: false }]
    siteConfig: { alwaysOn: false, minTlsVersion: '1.2' }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${storageEndpoints.blob}${packageContainer}'
          authentication: { type: 'UserAssignedIdentity', userAssignedIdentityResourceId: identityId }
        }
      }
      runtime: { name: 'python', version: pythonVersion }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstanceCount
        alwaysReady: ready
      }
    }
    configs: empty(consoleClientId) ? [appSettings] : [appSettings, authentication]
    enableTelemetry: false
  }
}

output id string = site.outputs.resourceId
output name string = site.outputs.name
